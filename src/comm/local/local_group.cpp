#include "comm/local/local_group.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <thread>

#include "base/check.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/cores.h"
#include "base/units.h"

namespace tandem {
namespace {

// One-shot as long as each rank reads no more than this from the others; measured with two ranks
// (docs/performance.md, "Collectives over threads"). The ring is never chosen: it is at best a
// tenth ahead of two-shot, and with more than two ranks its order of additions would make a token's
// bits depend on how many tokens are reduced with it.
constexpr std::int64_t kOneShotReadBytes = 16 * kKiB;

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

constexpr std::int64_t kPauseUs = 50;
constexpr std::int64_t kFloatsPerLine = 16;

}  // namespace

Error peer_lost(const Error& reason) {
  Error error = reason;
  error.code = ErrorCode::kPeerLost;
  return error;
}

WaitLimits wait_limits(int num_threads, std::int64_t spin_us, std::int64_t deadline_us) {
  // Where ranks outnumber cores, one that pauses keeps the one that it waits for from running.
  const bool crowded = num_threads > static_cast<int>(allowed_cores().size());
  return {.pause_us = crowded ? 0 : std::min(kPauseUs, spin_us),
          .spin_us = spin_us,
          .deadline_us = deadline_us};
}

void delay(std::int64_t delay_us) {
  if (delay_us <= 0) return;
  const std::int64_t end_ns = monotonic_ns() + 1000 * delay_us;
  if (delay_us > 1000) std::this_thread::sleep_for(std::chrono::microseconds(delay_us - 500));
  while (monotonic_ns() < end_ns) sched_yield();
}

std::int64_t chunk_begin(std::int64_t elements, int index, int count) {
  if (index == count) return elements;
  return elements * index / count / kFloatsPerLine * kFloatsPerLine;
}

LocalGroup::LocalGroup(const LocalGroupOptions& group_options)
    : options(group_options),
      limits(wait_limits(options.size, options.spin_us, options.deadline_us)),
      seats(static_cast<std::size_t>(options.size)) {
  TANDEM_CHECK(options.size > 0 && options.max_bytes >= 0, "a group has ranks and messages");
  const ReduceAlgorithm algorithm = options.algorithm;
  one_shot_bytes = algorithm == ReduceAlgorithm::kAuto
                       ? kOneShotReadBytes / std::max(options.size - 1, 1)
                   : algorithm == ReduceAlgorithm::kOneShot ? kNever
                                                            : -1;
  ring_bytes = algorithm == ReduceAlgorithm::kRing ? 0 : kNever;
  if (options.size == 1) return;
  const std::int64_t half_bytes = align_up<std::int64_t>(
      std::min(options.max_bytes, std::max<std::int64_t>(one_shot_bytes, 0)), 64);
  for (Seat& seat : seats) seat.staging = HostMemory::allocate(2 * half_bytes).value();
}

void LocalGroup::fail(const Error& error) {
  failure.set(error);
  for (Seat& seat : seats) seat.steps.interrupt();
}

std::vector<std::unique_ptr<Communicator>> create_local_group(const LocalGroupOptions& options) {
  const auto group = std::make_shared<LocalGroup>(options);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int rank = 0; rank < options.size; ++rank) {
    ranks.push_back(std::make_unique<LocalCommunicator>(group, rank));
  }
  return ranks;
}

}  // namespace tandem
