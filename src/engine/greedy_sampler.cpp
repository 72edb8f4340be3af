#include "engine/greedy_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/index_of_largest.h"

namespace tandem {

SampledToken GreedySampler::sample(std::span<float> logits) {
  SampledToken sampled;
  sampled.token = static_cast<std::int32_t>(index_of_largest(logits));
  if (num_logprobs_ < 0) return sampled;

  const float best = logits[static_cast<std::size_t>(sampled.token)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit) - double(best));
  const double log_sum = double(best) + std::log(sum);
  const auto logprob_of = [&](std::int32_t token) {
    return static_cast<float>(double(logits[static_cast<std::size_t>(token)]) - log_sum);
  };
  sampled.logprob = logprob_of(sampled.token);
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min(order.size(), static_cast<std::size_t>(num_logprobs_));
  std::ranges::partial_sort(order, order.begin() + static_cast<std::ptrdiff_t>(count),
                            [&](std::int32_t a, std::int32_t b) {
                              const float x = logits[static_cast<std::size_t>(a)];
                              const float y = logits[static_cast<std::size_t>(b)];
                              return x != y ? x > y : a < b;
                            });
  for (std::size_t i = 0; i < count; ++i) {
    sampled.likeliest.push_back({order[i], logprob_of(order[i])});
  }
  return sampled;
}

SampledToken GreedySampler::sample_best(std::span<const TokenLogit> best, double) {
  return {best.empty() ? 0 : best.front().token, 0, {}};
}

// A sampler that says it needs all logits gets them.
SampledToken TokenSampler::sample_best(std::span<const TokenLogit>, double) {
  check_failed(__FILE__, __LINE__, "a sampler that can choose among the best", "");
}

}  // namespace tandem
