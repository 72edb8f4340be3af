#include "fleet/breaker.h"

#include <algorithm>

namespace tandem {
namespace {

// Outcomes that are kept: more say nothing more.
constexpr std::size_t kMaxOutcomes = 1000;

}  // namespace

bool CircuitBreaker::allows(const BreakerPolicy&, std::int64_t now_ms) const {
  return open_until_ms_ == 0 || (now_ms >= open_until_ms_ && !is_trying_);
}

bool CircuitBreaker::began(const BreakerPolicy&, std::int64_t now_ms) {
  if (open_until_ms_ == 0 || now_ms < open_until_ms_) return false;
  is_trying_ = true;
  return true;
}

void CircuitBreaker::succeeded(const BreakerPolicy& policy, std::int64_t now_ms) {
  failures_in_row_ = 0;
  // What began before it opened says nothing about now.
  if (open_until_ms_ > 0 && !is_trying_) return;
  if (open_until_ms_ > 0) window_.clear();
  open_until_ms_ = 0;
  is_trying_ = false;
  note(policy, false, now_ms);
}

void CircuitBreaker::failed(const BreakerPolicy& policy, std::int64_t now_ms) {
  ++failures_in_row_;
  note(policy, true, now_ms);
  const auto num_failures = static_cast<std::int32_t>(
      std::ranges::count_if(window_, [](const Outcome& outcome) { return outcome.is_failure; }));
  const auto half = static_cast<std::int32_t>(window_.size() / 2);
  const bool is_too_much =
      failures_in_row_ >= policy.failures || num_failures >= std::max(policy.failures, half);
  if (is_trying_ || is_too_much) open_until_ms_ = now_ms + policy.open_ms;
  is_trying_ = false;
}

void CircuitBreaker::note(const BreakerPolicy& policy, bool is_failure, std::int64_t now_ms) {
  window_.push_back({now_ms, is_failure});
  while (window_.size() > kMaxOutcomes || now_ms - window_.front().at_ms > policy.window_ms) {
    window_.pop_front();
  }
}

std::string_view CircuitBreaker::state(std::int64_t now_ms) const {
  if (open_until_ms_ == 0) return "closed";
  return now_ms < open_until_ms_ ? "open" : "half-open";
}

}  // namespace tandem
