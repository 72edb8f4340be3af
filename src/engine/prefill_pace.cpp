#include "engine/prefill_pace.h"

#include <algorithm>

namespace tandem {
namespace {

// Weight of the newest measurement: half of the past is forgotten after about six steps.
constexpr double kNewest = 0.1;

void average(double& mean, double value) {
  mean = mean == 0 ? value : (1 - kNewest) * mean + kNewest * value;
}

}  // namespace

PrefillPace::PrefillPace(std::int32_t max_batch_tokens, double max_slowdown)
    : max_batch_tokens_(max_batch_tokens), max_slowdown_(max_slowdown) {}

std::int32_t PrefillPace::tokens_beside_decodes() const {
  if (decode_step_us_ == 0 || prefill_token_us_ == 0) {
    return std::min(max_batch_tokens_, kFirstTokens);
  }
  const double spare_us = (max_slowdown_ - 1) * decode_step_us_;
  const double tokens = std::min(spare_us / prefill_token_us_, double(max_batch_tokens_));
  return std::max(std::min(max_batch_tokens_, kLeastTokens), static_cast<std::int32_t>(tokens));
}

void PrefillPace::observe(std::int32_t num_decodes, std::int32_t num_prefill_tokens,
                          std::int64_t duration_us) {
  const auto duration = static_cast<double>(std::max<std::int64_t>(duration_us, 1));
  if (num_prefill_tokens == 0) {
    average(decode_step_us_, duration);
  } else if (num_decodes == 0) {
    average(prefill_token_us_, duration / num_prefill_tokens);
  } else if (decode_step_us_ > 0) {
    const double added = std::max(duration - decode_step_us_, 0.05 * duration);
    average(prefill_token_us_, added / num_prefill_tokens);
  }
}

}  // namespace tandem
