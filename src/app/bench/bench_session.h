#pragma once

#include <string>
#include <vector>

#include "app/bench/bench_report.h"
#include "app/model_options.h"
#include "base/result.h"

namespace tandem {

struct BenchOptions {
  ModelOptions model;
  std::string plans = "auto";  // or a list: none, tensor, layer, hybrid, 2x2 (group x stages)
  std::int32_t prompt_tokens = 512;
  std::int32_t gen_tokens = 64;
  std::vector<std::int32_t> concurrency = {1};
  std::int32_t num_repetitions = 5;
  double min_seconds = 0.2;       // that a repetition lasts: short workloads are repeated within it
  double ceiling_seconds = 0.03;  // of each pattern
  // Measure the kernels too, for BenchReport::calibrated: of these types of weights, or of all.
  bool calibrate = false;
  std::vector<ElementType> calibrate_types;
  // Faults, to see that they are found.
  std::vector<double> injected_slowdown;  // per rank of every setup with several
  std::int64_t injected_slowdown_from_step = 0;
  std::int64_t injected_link_delay_us = 0;
};

// Measures ceilings, runs every setup in turn, again and again, and accounts for losses. Blocks for
// seconds to minutes. Errors: flags that mean nothing, models that do not fit.
Result<BenchReport> run_bench(const BenchOptions& options);

}  // namespace tandem
