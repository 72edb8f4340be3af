#include "engine/samplers/penalties.h"

namespace tandem {

bool Penalties::is_off() const {
  return params_.last_n == 0 ||
         (params_.repeat == 1 && params_.frequency == 0 && params_.presence == 0);
}

void Penalties::accept(std::span<const std::int32_t> history) {
  if (is_off()) return;
  ++counts_[history.back()];
  if (params_.last_n < 0 || history.size() <= static_cast<std::size_t>(params_.last_n)) return;
  const std::int32_t leaving =
      history[history.size() - 1 - static_cast<std::size_t>(params_.last_n)];
  const auto entry = counts_.find(leaving);
  if (--entry->second == 0) counts_.erase(entry);
}

void Penalties::apply(std::span<float> logits) const {
  for (const auto& [token, count] : counts_) {
    if (token < 0 || static_cast<std::size_t>(token) >= logits.size()) continue;
    float& logit = logits[static_cast<std::size_t>(token)];
    logit = logit <= 0 ? logit * params_.repeat : logit / params_.repeat;
    logit -= lower_of(count);
  }
}

void Penalties::add_to(std::map<std::int32_t, LogitChange>& changes) const {
  for (const auto& [token, count] : counts_) {
    LogitChange& change = changes[token];
    change.repeat = params_.repeat;
    change.lower = lower_of(count);
  }
}

}  // namespace tandem
