#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/runtime.h"

namespace tandem {

// Sums since the engine's start.
struct EngineCounters {
  std::int64_t prompt_tokens = 0;         // computed or found in the cache
  std::int64_t cached_prompt_tokens = 0;  // of these, found
  std::int64_t generated_tokens = 0;
  std::int64_t drafted_tokens = 0;
  std::int64_t accepted_tokens = 0;
  std::int64_t requests_finished = 0;
  std::int64_t requests_cancelled = 0;
  std::int64_t requests_failed = 0;
  std::int64_t steps = 0;
  std::int64_t steps_with_prompts = 0;
  std::int64_t step_us = 0;               // in steps, from submission to their results
  std::int64_t step_us_with_prompts = 0;  // of these, in steps that took prompt tokens
  std::int64_t engine_us = 0;             // between steps: scheduling, sampling, handing out text
  std::int64_t batched_sequences = 0;     // over all steps: their mean is the batch size
};

// One answer in the making.
struct AnswerState {
  std::uint64_t request = 0;
  std::int32_t choice = 0;
  bool is_running = false;  // else it waits for its first step, or again after pre-emption
  std::int32_t prompt_tokens = 0;
  std::int32_t computed_tokens = 0;  // in the KV cache
  std::int32_t generated_tokens = 0;
  std::int32_t max_tokens = 0;
};

// How the engine is right now.
struct EngineStats {
  EngineCounters counters;
  std::vector<AnswerState> answers;
  std::int32_t running = 0;  // answers
  std::int32_t waiting = 0;
  std::int64_t preemptions = 0;
  std::int32_t blocks_total = 0;
  std::int32_t blocks_owned = 0;
  std::int32_t blocks_cached = 0;
  std::int32_t block_tokens = 0;
  std::int32_t max_sequences = 0;
  std::int32_t max_context_tokens = 0;
  std::string failure;             // empty: it works
  std::vector<RankTimes> ranks;    // empty where the runner does not measure itself
  std::vector<RankMemory> memory;  // likewise
};

}  // namespace tandem
