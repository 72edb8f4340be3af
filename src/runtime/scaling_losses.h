#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/runtime.h"

namespace tandem {

// Why several devices are slower than their number times one device.
enum class LossCause : std::uint8_t {
  kAllReduceLatency,    // waiting at reductions for messages, ranks being equally fast
  kAllReduceBandwidth,  // moving and adding at reductions
  kStageTransfer,       // moving hidden states between stages
  kBubble,              // stages without work
  kImbalance,           // a rank slower for its share of the work than the others, and their waits
  kThrottling,          // the same, where that rank has become slower during the run
  kSharedCeiling,       // the devices together reach less than the sum of each alone
  kCompute,             // more or slower arithmetic on smaller parts
  kLaunch,              // ranks waking up, taking steps, handing over logits
  kHost,                // making and submitting steps
  kSampling,            // choosing tokens
};
inline constexpr std::size_t kNumLossCauses = 11;

std::string_view name_of(LossCause cause);  // as in JSON: "all_reduce_latency"
std::string_view text_of(LossCause cause);  // for people: "waiting at reductions"

// One run of a workload over a plan, as its ranks and its driver measured it. Seconds.
struct RunTimes {
  double wall = 0;
  double host = 0;      // in which the driver made steps
  double sampling = 0;  // in which it chose tokens
  std::vector<RankTimes> ranks;
  // Of the model's work, the fraction that each rank has by what it holds; sums to 1.
  std::vector<double> work;
  std::int32_t steps_in_flight = 1;  // micro-steps that stages can work on at once
};

struct LossContext {
  // What the devices reach alone, summed, over what they reach together at the ceiling that bounds
  // the workload: 2 where two devices share one memory bus that one of them can fill.
  double shared_ceiling_ratio = 1.0;
  bool is_throttled = false;  // the slowest rank has become slower during the run
};

// Where the device time of a run went: with P devices and a wall time T, P x T seconds, of which
// one device alone would have needed T1. efficiency = T1 / (P x T); the losses are fractions of
// P x T and sum with it to 1. A negative loss is a gain (caches that add up, for example).
struct LossAccount {
  double speedup = 1;
  double efficiency = 1;
  std::array<double, kNumLossCauses> losses = {};
  // The rank that is slowest for its share, where it is slower than the fastest by 3 % and more.
  std::optional<std::size_t> slowest_rank;
  double slower_by = 0;  // 0.2: needs 20 % more time for the same work

  double& operator[](LossCause cause) { return losses[static_cast<std::size_t>(cause)]; }
  double operator[](LossCause cause) const { return losses[static_cast<std::size_t>(cause)]; }
  // The cause with the largest loss; nullopt where all are below one percent.
  std::optional<LossCause> main_cause() const;
};

// What one device with room for the whole model would take, told by the stages of a pipeline of
// single devices: each layer is computed whole there, so that their arithmetic and outputs, one
// after the other, with the driver's time, make up its time. A run of one device is itself.
RunTimes as_one_device(const RunTimes& pipeline);

// `one`: the same workload on one device (of one rank). Both runs processed the same tokens.
LossAccount account_for_losses(const RunTimes& one, const RunTimes& several,
                               const LossContext& context = {});

// The rank whose arithmetic slowed during the run: its median over the last third of the
// repetitions is at least 10 % above that over the first third, relative to the other ranks
// (or absolutely, where it is alone). compute: [repetition][rank] seconds, in order of time.
// nullopt with fewer than six repetitions.
std::optional<std::size_t> find_throttled_rank(const std::vector<std::vector<double>>& compute);

}  // namespace tandem
