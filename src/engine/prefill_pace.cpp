#include "engine/prefill_pace.h"

#include <algorithm>

namespace tandem {
namespace {

// Of what a step counts against the one after it: half of the past is forgotten in 17 steps.
constexpr double kKept = 0.96;
// Sizes that differ by less than this (in their standard deviation, of their mean) say nothing of
// what a token costs.
constexpr double kLeastSpread = 0.05;

}  // namespace

PrefillPace::PrefillPace(std::int32_t max_batch_tokens, double max_slowdown)
    : max_batch_tokens_(max_batch_tokens), max_slowdown_(max_slowdown) {}

std::int32_t PrefillPace::tokens_beside(std::int32_t num_decodes) const {
  const double decodes = std::max(1, num_decodes);
  double tokens = kFirstTokens;
  if (token_us_ > 0) {
    const double mean_tokens = tokens_ / weight_;
    const double mean_us = duration_us_ / weight_;
    // A token costs something, and a step without tokens nothing or more.
    const double highest_us = mean_us / mean_tokens;
    const double token_us = std::clamp(token_us_, 0.02 * highest_us, highest_us);
    const double decode_us = mean_us + token_us * (decodes - mean_tokens);
    tokens = (max_slowdown_ - 1) * decode_us / token_us;
  }
  const double least = std::max<double>(kLeastTokens, (max_slowdown_ - 1) * decodes);
  tokens = std::min(std::max(tokens, least), double(max_batch_tokens_));
  return static_cast<std::int32_t>(tokens);
}

void PrefillPace::observe(std::int32_t num_tokens, std::int64_t duration_us) {
  const double tokens = num_tokens;
  const double duration = double(std::max<std::int64_t>(duration_us, 1));
  weight_ = kKept * weight_ + 1;
  tokens_ = kKept * tokens_ + tokens;
  duration_us_ = kKept * duration_us_ + duration;
  tokens_squared_ = kKept * tokens_squared_ + tokens * tokens;
  product_ = kKept * product_ + tokens * duration;
  const double mean = tokens_ / weight_;
  const double variance = tokens_squared_ / weight_ - mean * mean;
  // Steps that are all alike leave what was learned before.
  if (variance < kLeastSpread * mean * kLeastSpread * mean) return;
  const double slope_us = (product_ / weight_ - mean * duration_us_ / weight_) / variance;
  token_us_ = std::max(slope_us, 1e-3);
}

}  // namespace tandem
