#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/token_sampler.h"

namespace tandem {

// Natural logarithms of the softmax of one row of logits, of which a copy is kept.
class Logprobs {
 public:
  // logits: [vocabulary_size]. NaN counts as -infinity.
  explicit Logprobs(std::span<const float> logits);

  // -infinity for tokens outside the row.
  float of(std::int32_t token) const;
  // The `count` likeliest, best first, equals by id; all where there are fewer.
  std::vector<TokenLogprob> likeliest(std::size_t count) const;

 private:
  std::vector<float> logits_;
  double log_sum_ = 0;  // log of the sum of exp(logit)
};

}  // namespace tandem
