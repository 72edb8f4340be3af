#pragma once

#include <cstdint>

#include "plan/plan.h"
#include "plan/sketch.h"

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

// The whole estimate. Every formula stands beside its code.
TimeEstimate estimate_time(const ModelCosts& model, const Sketch& sketch, const Bench& bench,
                           const Workload& workload);

// Fills predicted, scaling and power_w of a plan.
Status predict(Plan& plan, const ModelCosts& model, const Bench& bench, const Workload& workload);

}  // namespace tandem
