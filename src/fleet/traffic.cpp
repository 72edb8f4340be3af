#include "fleet/traffic.h"

#include <algorithm>
#include <cmath>

#include "fleet/prompt_prefix.h"

namespace tandem {
namespace {

// What an answer is taken to cost whose length nobody has said.
constexpr std::int64_t kUsualAnswerTokens = 256;
constexpr std::int64_t kMaxAnswerTokens = 8192;
// Prefixes remembered of a backend; then the half longest unused is forgotten.
constexpr std::size_t kMaxPrefixes = 16'384;
constexpr std::int64_t kBytesPerToken = 4;
// Processes that are gone leave an entry; beyond this, those without work are forgotten.
constexpr std::size_t kMaxBackends = 256;

ApiError too_many(const std::string& what, double retry_s) {
  return {429,
          what,
          "rate_limit_error",
          {},
          "rate_limit_exceeded",
          static_cast<std::int32_t>(std::clamp(std::ceil(retry_s), 1.0, 3600.0))};
}

std::int64_t cost_of(const Demand& demand) {
  const std::int64_t answer =
      demand.max_tokens > 0 ? std::min(demand.max_tokens, kMaxAnswerTokens) : kUsualAnswerTokens;
  return demand.prompt_tokens + answer;
}

bool has_room(const Backend& backend) {
  return backend.max_running() == 0 || backend.num_running() < backend.max_running();
}

}  // namespace

void TrafficControl::Bucket::refill(double per_minute, std::int64_t now_ms) {
  left = std::min(per_minute, left + per_minute * static_cast<double>(now_ms - at_ms) / 60'000);
  at_ms = now_ms;
}

void TrafficControl::configure(const FleetConfig& config, std::int64_t now_ms) {
  breaker_policy_ = config.breaker;
  std::map<std::string, KeyUse> keys;
  for (const KeyConfig& key : config.keys) {
    KeyUse use;
    // What a key has used up stays used, whatever its limits are now.
    if (const auto old = keys_.find(key.name); old != keys_.end()) {
      use = old->second;
    } else {
      use.requests = {static_cast<double>(key.requests_per_minute.value_or(0)), now_ms};
      use.tokens = {static_cast<double>(key.tokens_per_minute.value_or(0)), now_ms};
    }
    use.config = key;
    keys.emplace(key.name, std::move(use));
  }
  keys_ = std::move(keys);
}

TrafficControl::KeyUse* TrafficControl::key_of(const Demand& demand) {
  const auto key = keys_.find(demand.key);
  return key == keys_.end() ? nullptr : &key->second;
}

std::optional<ApiError> TrafficControl::admit(const Demand& demand, std::int64_t now_ms) {
  KeyUse* use = key_of(demand);
  if (use == nullptr) return std::nullopt;
  const KeyConfig& key = use->config;
  const bool is_full = key.max_concurrent && use->num_running >= *key.max_concurrent;
  if (is_full && key.max_queued && use->num_waiting >= *key.max_queued) {
    return too_many("this key has as many requests at work and waiting as it may", 1);
  }
  if (demand.tried.empty()) {
    if (key.requests_per_minute) {
      const auto rate = static_cast<double>(*key.requests_per_minute);
      use->requests.refill(rate, now_ms);
      if (use->requests.left < 1) {
        return too_many("this key's requests a minute are used up",
                        (1 - use->requests.left) * 60 / rate);
      }
    }
    if (key.tokens_per_minute) {
      const auto rate = static_cast<double>(*key.tokens_per_minute);
      use->tokens.refill(rate, now_ms);
      if (use->tokens.left <= 0) {
        return too_many("this key's tokens a minute are used up",
                        (1 - use->tokens.left) * 60 / rate);
      }
    }
    use->requests.left -= 1;
    use->tokens.left -= static_cast<double>(demand.prompt_tokens);
  }
  ++use->num_waiting;
  return std::nullopt;
}

void TrafficControl::gave_up(const Demand& demand) {
  KeyUse* use = key_of(demand);
  if (use != nullptr && use->num_waiting > 0) --use->num_waiting;
}

bool TrafficControl::is_key_full(const Demand& demand) const {
  const auto key = keys_.find(demand.key);
  return key != keys_.end() && key->second.config.max_concurrent &&
         key->second.num_running >= *key->second.config.max_concurrent;
}

// Of the prompt's beginnings that the backend has seen, the longest.
std::int64_t TrafficControl::saved_tokens(const BackendUse& use, const Demand& demand) const {
  for (std::size_t i = demand.prefix.size(); i > 0; --i) {
    if (!use.prefixes.contains(demand.prefix[i - 1])) continue;
    return static_cast<std::int64_t>(i * kPromptPrefixBytes) / kBytesPerToken;
  }
  return 0;
}

TrafficControl::Chosen TrafficControl::choose(const Demand& demand,
                                              const std::vector<std::shared_ptr<Backend>>& backends,
                                              std::int64_t max_running, std::int64_t now_ms) {
  Chosen chosen;
  if (is_key_full(demand)) return chosen;
  std::int64_t num_running = 0;
  for (const auto& backend : backends) num_running += backend->num_running();
  const bool is_full = max_running > 0 && num_running >= max_running;
  chosen.all_tried = !backends.empty() && !demand.tried.empty();
  std::int64_t best = 0;
  int num_untried = 0;
  int num_broken = 0;
  bool has_sound_one = false;  // which this request may wait for
  std::shared_ptr<Backend> early;
  for (const auto& backend : backends) {
    if (std::ranges::find(demand.tried, backend->identity()) != demand.tried.end()) continue;
    chosen.all_tried = false;
    const BackendUse& use = backends_[backend->identity()];
    const bool is_broken = backend->is_ready() && !use.breaker.allows(now_ms);
    ++num_untried;
    has_sound_one |= backend->is_ready() && !is_broken;
    if (is_broken) {
      const std::int64_t wait_ms = use.breaker.next_try_in_ms(now_ms);
      chosen.next_try_in_ms = num_broken == 0 ? wait_ms : std::min(chosen.next_try_in_ms, wait_ms);
      ++num_broken;
      if (has_room(*backend) && use.breaker.allows_early(now_ms)) early = backend;
    }
    if (is_broken || is_full || !backend->is_ready() || !has_room(*backend)) continue;
    const std::int64_t score = use.tokens - saved_tokens(use, demand);
    if (chosen.backend && score >= best) continue;
    chosen.backend = backend;
    best = score;
  }
  chosen.all_broken = num_untried > 0 && num_broken == num_untried;
  if (!chosen.backend && !has_sound_one && !is_full) chosen.backend = early;
  return chosen;
}

TrafficControl::Work TrafficControl::began(const std::string& backend, const Demand& demand,
                                           std::int64_t now_ms) {
  if (KeyUse* key = key_of(demand)) {
    key->num_waiting = std::max(0, key->num_waiting - 1);
    ++key->num_running;
  }
  if (backends_.size() > kMaxBackends) {
    std::erase_if(backends_, [&](const auto& entry) {
      return entry.second.tokens == 0 && entry.first != backend;
    });
  }
  BackendUse& use = backends_[backend];
  remember(use, demand, now_ms);
  const Work work{cost_of(demand), use.breaker.began(now_ms)};
  use.tokens += work.tokens;
  return work;
}

void TrafficControl::remember(BackendUse& use, const Demand& demand, std::int64_t now_ms) {
  for (const std::uint64_t hash : demand.prefix) use.prefixes[hash] = now_ms;
  if (use.prefixes.size() <= kMaxPrefixes) return;
  std::vector<std::int64_t> times;
  for (const auto& [hash, time] : use.prefixes) times.push_back(time);
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  std::erase_if(use.prefixes, [&](const auto& entry) { return entry.second <= *middle; });
}

void TrafficControl::worked_off(const std::string& backend, std::int64_t tokens) {
  backends_[backend].tokens -= tokens;
}

void TrafficControl::ended(const std::string& backend, const Demand& demand, Work left,
                           std::int64_t num_events, LeaseEnd end, std::int64_t now_ms) {
  if (KeyUse* key = key_of(demand)) {
    key->num_running = std::max(0, key->num_running - 1);
    key->tokens.left -= static_cast<double>(num_events);
  }
  BackendUse& use = backends_[backend];
  use.tokens -= left.tokens;
  switch (end) {
    case LeaseEnd::kAnswered:
      return use.breaker.succeeded(left.epoch, breaker_policy_, now_ms);
    case LeaseEnd::kFailed:
    case LeaseEnd::kTimedOut:
      return use.breaker.failed(left.epoch, breaker_policy_, now_ms);
    case LeaseEnd::kRefused:
    case LeaseEnd::kCancelled:
      return use.breaker.abandoned(left.epoch);
  }
}

void TrafficControl::describe(const Backend& backend, BackendStatus& status,
                              std::int64_t now_ms) const {
  status.breaker = "closed";
  const auto use = backends_.find(backend.identity());
  if (use == backends_.end()) return;
  status.breaker = use->second.breaker.state(now_ms);
  status.outstanding_tokens = use->second.tokens;
}

}  // namespace tandem
