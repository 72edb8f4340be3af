#include "engine/samplers/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/samplers/candidates.h"

namespace tandem {

Logprobs::Logprobs(std::span<const float> logits) : logits_(logits.begin(), logits.end()) {
  double max = -std::numeric_limits<double>::infinity();
  for (float& logit : logits_) {
    logit = std::isnan(logit) ? -std::numeric_limits<float>::infinity()
                              : std::min(logit, Candidates::kMaxLogit);
    max = std::max<double>(max, logit);
  }
  if (std::isinf(max)) return;  // nothing is possible, and nothing has a probability
  double sum = 0;
  for (const float logit : logits_) sum += std::exp(logit - max);
  log_sum_ = max + std::log(sum);
}

float Logprobs::of(std::int32_t token) const {
  if (token < 0 || static_cast<std::size_t>(token) >= logits_.size()) {
    return -std::numeric_limits<float>::infinity();
  }
  return static_cast<float>(logits_[static_cast<std::size_t>(token)] - log_sum_);
}

std::vector<TokenLogprob> Logprobs::likeliest(std::size_t count) const {
  std::vector<TokenLogprob> best;
  if (count == 0) return best;
  Candidates candidates;
  candidates.assign(logits_, static_cast<std::int32_t>(std::min(count, logits_.size())));
  candidates.sort_prefix(count);
  candidates.keep_first(count);
  for (const Candidate& c : candidates.items()) best.push_back({c.token, of(c.token)});
  return best;
}

}  // namespace tandem
