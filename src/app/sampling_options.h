#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/sampling_params.h"

namespace CLI {
class App;
}

namespace tandem {

// The flags that say how tokens are chosen and when an answer ends.
struct SamplingOptions {
  SamplingParams params;
  std::int64_t seed = -1;  // -1: drawn anew
  std::int32_t max_tokens = -1;
  std::vector<std::string> stop;
  std::vector<std::string> logit_bias;  // "42+1.5", "42-inf"
  bool ignore_eos = false;
};

void add_sampling_options(CLI::App& command, SamplingOptions& options);

// The parameters with seed and biases filled in, checked. Errors name the flag's value.
Result<SamplingParams> sampling_params_of(const SamplingOptions& options,
                                          std::int32_t vocabulary_size);

}  // namespace tandem
