#include "fleet/breaker.h"

#include <algorithm>
#include <utility>

namespace tandem {
namespace {

// Outcomes that are kept: more say nothing more.
constexpr std::size_t kMaxOutcomes = 1000;
constexpr std::int64_t kFirstEarlyMs = 250;

}  // namespace

bool CircuitBreaker::allows(std::int64_t now_ms) const {
  return open_until_ms_ == 0 || (now_ms >= open_until_ms_ && !is_trying_);
}

bool CircuitBreaker::allows_early(std::int64_t now_ms) const {
  return open_until_ms_ == 0 || (now_ms >= early_at_ms_ && !is_trying_);
}

std::int64_t CircuitBreaker::next_try_in_ms(std::int64_t now_ms) const {
  if (open_until_ms_ == 0) return 0;
  if (is_trying_) return now_ms - trying_since_ms_;
  return std::max<std::int64_t>(0, early_at_ms_ - now_ms);
}

CircuitBreaker::Epoch CircuitBreaker::began(std::int64_t now_ms) {
  if (open_until_ms_ > 0 && allows_early(now_ms)) {
    is_trying_ = true;
    trying_since_ms_ = now_ms;
    ++epoch_;
  }
  return epoch_;
}

void CircuitBreaker::succeeded(Epoch epoch, const BreakerPolicy& policy, std::int64_t now_ms) {
  if (epoch != epoch_) return;
  failures_in_row_ = 0;
  if (open_until_ms_ > 0) window_.clear();
  open_until_ms_ = 0;
  is_trying_ = false;
  note(policy, false, now_ms);
}

void CircuitBreaker::failed(Epoch epoch, const BreakerPolicy& policy, std::int64_t now_ms) {
  if (epoch != epoch_) return;
  ++failures_in_row_;
  note(policy, true, now_ms);
  const auto num_failures = static_cast<std::int32_t>(
      std::ranges::count_if(window_, [](const Outcome& outcome) { return outcome.is_failure; }));
  const auto half = static_cast<std::int32_t>(window_.size() / 2);
  const bool is_too_much =
      failures_in_row_ >= policy.failures || num_failures >= std::max(policy.failures, half);
  if (!is_trying_ && !is_too_much) return;
  early_after_ms_ = std::min(policy.open_ms, is_trying_ ? 2 * early_after_ms_ : kFirstEarlyMs);
  early_at_ms_ = now_ms + early_after_ms_;
  open_until_ms_ = now_ms + policy.open_ms;
  is_trying_ = false;
  ++epoch_;
}

void CircuitBreaker::abandoned(Epoch epoch) {
  if (epoch == epoch_) is_trying_ = false;
}

void CircuitBreaker::note(const BreakerPolicy& policy, bool is_failure, std::int64_t now_ms) {
  window_.push_back({now_ms, is_failure});
  while (window_.size() > kMaxOutcomes || now_ms - window_.front().at_ms > policy.window_ms) {
    window_.pop_front();
  }
}

std::string_view CircuitBreaker::state(std::int64_t now_ms) const {
  if (open_until_ms_ == 0) return "closed";
  return is_trying_ || now_ms >= open_until_ms_ ? "half-open" : "open";
}

}  // namespace tandem
