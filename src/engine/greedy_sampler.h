#pragma once

#include "engine/token_sampler.h"

namespace tandem {

// Always the likeliest token, the lowest id among equals.
class GreedySampler : public TokenSampler {
 public:
  explicit GreedySampler(const SamplingParams& params) : num_logprobs_(params.num_logprobs) {}
  SampledToken sample(std::span<float> logits) override;
  std::int32_t num_candidates() const override { return num_logprobs_ < 0 ? 1 : 0; }
  SampledToken sample_best(std::span<const TokenLogit> best, double log_sum) override;
  void accept(std::int32_t) override {}

 private:
  std::int32_t num_logprobs_;
};

}  // namespace tandem
