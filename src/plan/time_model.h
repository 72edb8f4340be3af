#pragma once

#include <optional>
#include <vector>

#include "machine/machine.h"
#include "plan/device_rates.h"
#include "plan/engine_profile.h"
#include "plan/links.h"
#include "plan/model_costs.h"
#include "plan/plan.h"

namespace tandem {

// What the machine is to do.
struct Workload {
  std::int64_t prompt_tokens = 512;
  std::int64_t generated_tokens = 128;
  std::int32_t concurrency = 1;               // sequences at once
  std::int64_t depth_tokens = 0;              // already in the cache before the prompt
  std::int32_t stage_micro_batch_tokens = 0;  // where there are stages; 0: the engine's
  // Context in the middle of generation; generation from an empty cache where the prompt is 0.
  double mean_context() const {
    return static_cast<double>(depth_tokens + prompt_tokens) +
           static_cast<double>(generated_tokens) / 2;
  }
};

// Devices, how they are joined, and who runs on them: what the time model knows of a machine.
struct Bench {
  std::vector<DeviceRates> devices;
  std::vector<std::string> ids;
  std::vector<std::vector<Wire>> wires;  // [device][device]
  const EngineProfile* engine = nullptr;
  double host_bandwidth_bytes = 0;  // that all CPU devices together read a second; 0: their sum
};
Result<Bench> bench_of(const Machine& machine, const EngineProfile& engine);

// One stage of a division, before anything is rounded to heads and blocks.
struct StageSketch {
  std::int32_t first_layer = 0;
  std::int32_t num_layers = 0;
  std::vector<std::size_t> devices;         // indices into Bench::devices
  std::vector<double> shares;               // of the stage's work; sum 1 but for work done twice
  std::vector<double> expert_shares = {};   // of the experts' work; empty: as `shares`
  std::optional<double> output_share = {};  // of the output matrix; nullopt: the last stage has it
  bool by_expert = false;  // whole experts: which ones a token picks loads the devices unevenly
};
using Sketch = std::vector<StageSketch>;

// The sketch that a plan amounts to, with the shares that its whole heads, blocks and experts come
// to; kNotFound for a device that the bench lacks.
Result<Sketch> sketch_of(const Plan& plan, const Bench& bench, const ModelCosts& model);

// How much more than its part the busiest of `devices` has to do, when each of `tokens` picks
// num_experts_used() of the experts at random and they lie on the devices in equal parts. A device
// gets tokens x k / P picks, give or take sqrt(tokens x k x 1/P x (1 - 1/P)); the largest of P such
// sums exceeds the mean by that times the expected maximum of P normal variables, and
// sqrt(P / (P - 1)) because the sums are bound to one total (David and Nagaraja, "Order
// Statistics", 2003).
double busiest_expert_share(const ModelCosts& model, std::size_t devices, double tokens);

// Times of one division. `losses` are seconds beyond the ideal per decode step and add up with
// ideal_step_s to decode_step_s.
struct TimeEstimate {
  double prefill_s = 0;      // of one prompt
  double decode_step_s = 0;  // one token of each of the sequences
  double single_step_s = 0;  // the same on the fastest device alone, had it the memory
  double theoretical_speedup = 1;
  ScalingLosses losses;

  double ideal_step_s() const { return single_step_s / theoretical_speedup; }
  double decode_tokens_per_s(std::int32_t concurrency) const { return concurrency / decode_step_s; }
};

// Seconds that `device` works on `costs` in one decode step of `batch` sequences at `context`:
//   weights / (efficiency x bandwidth) + unpacking operations / scalar rate
//   + further sequences' products / matrix rate + keys and values / (efficiency x bandwidth).
// The sum, not the maximum, of memory and operations: a matrix-vector kernel reaches the printed
// bandwidth only where arithmetic is plentiful (fitted: docs/planning.md). The maximum is taken
// between reading and matrix products, which overlap (Williams et al., "Roofline", CACM 2009); on a
// processor that unpacks and multiplies with the same cores, they add up.
double decode_work_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                     double context, double batch, bool windows);

// The whole estimate. Every formula stands beside its code.
TimeEstimate estimate_time(const ModelCosts& model, const Sketch& sketch, const Bench& bench,
                           const Workload& workload);

// Fills predicted, scaling and power_w of a plan.
Status predict(Plan& plan, const ModelCosts& model, const Bench& bench, const Workload& workload);

}  // namespace tandem
