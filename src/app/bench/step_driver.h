#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "runtime/runtime.h"
#include "runtime/scaling_losses.h"

namespace tandem {

// Sequences of equal length, as bench drives them through a runtime.
struct DriverWorkload {
  std::int32_t prompt_tokens = 512;
  std::int32_t gen_tokens = 128;
  std::int32_t max_concurrency = 1;
};

// Runs prompts and greedy decoding step by step, without a scheduler between: what the ranks and
// the choice of the likeliest token cost, and no more. One sequence's keys and values lie behind
// the other's, so that each decode starts from the same context.
class StepDriver {
 public:
  // The plan has room for the workload. `runtime` is borrowed.
  StepDriver(Runtime& runtime, const DriverWorkload& workload);

  // Every sequence's prompt once. Before the first decode().
  Status fill();
  // The prompt of one sequence, `passes` times; times are of one pass.
  Result<RunTimes> prefill(int passes);
  // gen_tokens of each of `concurrency` sequences. With several stages the sequences form as many
  // groups, whose steps follow one another through them.
  Result<RunTimes> decode(std::int32_t concurrency, int passes);

 private:
  Status feed_prompt(std::int32_t sequence, RunTimes& run);
  Status decode_once(std::int32_t concurrency, RunTimes& run);
  Result<std::int64_t> submit_decode(std::int32_t group, std::int32_t num_groups,
                                     std::int32_t concurrency, std::int32_t position);
  std::vector<std::int32_t> blocks_of(std::int32_t sequence) const;
  RunTimes begin();
  void end(RunTimes& run, std::int64_t began_ns, int passes) const;

  Runtime& runtime_;
  DriverWorkload workload_;
  std::int32_t blocks_per_sequence_;
  std::vector<std::int32_t> next_tokens_;  // of each sequence
};

}  // namespace tandem
