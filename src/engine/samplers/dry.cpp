#include "engine/samplers/dry.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

namespace tandem {
namespace {

// z[i]: how many tokens the sequence read from i on has in common with the one read from 0 on, for
// the history read backwards (Gusfield 1997, "Fundamental preprocessing"). z[0] is not set.
std::vector<std::size_t> common_lengths(std::span<const std::int32_t> window) {
  const std::size_t n = window.size();
  const auto token = [&](std::size_t i) { return window[n - 1 - i]; };
  std::vector<std::size_t> z(n, 0);
  std::size_t left = 0;
  std::size_t right = 0;  // [left, right) is the match that reaches furthest
  for (std::size_t i = 1; i < n; ++i) {
    if (i < right) z[i] = std::min(right - i, z[i - left]);
    while (i + z[i] < n && token(z[i]) == token(i + z[i])) ++z[i];
    if (i + z[i] > right) {
      left = i;
      right = i + z[i];
    }
  }
  return z;
}

}  // namespace

Dry::Dry(const DryParams& params, PieceOf piece_of)
    : params_(params), piece_of_(std::move(piece_of)) {
  std::erase_if(params_.sequence_breakers, [](const std::string& s) { return s.empty(); });
  for (const std::string& breaker : params_.sequence_breakers) {
    max_breaker_bytes_ = std::max(max_breaker_bytes_, breaker.size());
  }
}

bool Dry::is_off() const {
  return params_.multiplier <= 0 || params_.last_n == 0;
}

void Dry::accept(std::int32_t token) {
  if (is_off()) return;
  ++num_since_breaker_;
  const std::size_t num_before = tail_.size();
  tail_ += piece_of_(token);
  for (const std::string& breaker : params_.sequence_breakers) {
    // Only those that end in this token: the others have been seen.
    const std::size_t from = num_before >= breaker.size() ? num_before - breaker.size() + 1 : 0;
    if (tail_.find(breaker, from) != std::string::npos) num_since_breaker_ = 0;
  }
  const std::size_t kept = max_breaker_bytes_ == 0 ? 0 : max_breaker_bytes_ - 1;
  if (tail_.size() > kept) tail_.erase(0, tail_.size() - kept);
}

void Dry::apply(std::span<const std::int32_t> history, std::span<float> logits) const {
  if (is_off()) return;
  if (params_.last_n > 0 && history.size() > static_cast<std::size_t>(params_.last_n)) {
    history = history.last(static_cast<std::size_t>(params_.last_n));
  }
  const auto allowed = static_cast<std::size_t>(std::max(params_.allowed_length, 1));
  const std::size_t limit = std::min(num_since_breaker_, history.size());
  if (limit < allowed) return;

  const std::vector<std::size_t> lengths = common_lengths(history);
  std::unordered_map<std::int32_t, std::size_t> longest;  // by the token that would lengthen it
  for (std::size_t i = 1; i < lengths.size(); ++i) {
    const std::size_t length = std::min(lengths[i], limit);
    if (length < allowed) continue;
    std::size_t& entry = longest[history[history.size() - i]];
    entry = std::max(entry, length);
  }
  for (const auto& [token, length] : longest) {
    if (token < 0 || static_cast<std::size_t>(token) >= logits.size()) continue;
    const double penalty =
        params_.multiplier * std::pow(double{params_.base}, static_cast<double>(length - allowed));
    // A penalty beyond this forbids the token in effect, and must not become -infinity.
    logits[static_cast<std::size_t>(token)] -= static_cast<float>(std::min(penalty, 1e30));
  }
}

}  // namespace tandem
