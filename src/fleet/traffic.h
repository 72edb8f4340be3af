#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "fleet/backend.h"
#include "fleet/breaker.h"
#include "fleet/dispatch.h"
#include "fleet/fleet_config.h"

namespace tandem {

// Who may send what, and where it goes: the limits of keys, the choice among backends, and their
// circuit breakers. Decides and counts; sends nothing. Times are milliseconds of a steady clock.
//
// A request goes where the least work waits, in tokens of prompts and answers, unless a backend has
// seen the beginning of its prompt before: there it goes as long as the tokens that wait there
// additionally are fewer than those it saves.
class TrafficControl {
 public:
  struct Chosen {
    std::shared_ptr<Backend> backend;  // nullptr: none can take it now
    bool all_tried = false;            // because each of them has failed this request
    bool all_broken = false;           // because of their breakers alone
    std::int64_t next_try_in_ms = 0;   // where all are broken: until one of them is tried again
  };

  // A request at work, as ended() will want to know it.
  struct Work {
    std::int64_t tokens = 0;  // that it is taken to cost
    CircuitBreaker::Epoch epoch = 0;
  };

  void configure(const FleetConfig& config, std::int64_t now_ms);

  // Why a request may not even wait (429). From then on it counts for its key, until gave_up() or
  // ended(). One that has tried before is not counted against the rates again.
  std::optional<ApiError> admit(const Demand& demand, std::int64_t now_ms);
  void gave_up(const Demand& demand);

  // max_running: of the model, at all backends together.
  Chosen choose(const Demand& demand, const std::vector<std::shared_ptr<Backend>>& backends,
                std::int64_t max_running, std::int64_t now_ms);
  // Backends are told by their identity from here on. The request is at work there.
  Work began(const std::string& backend, const Demand& demand, std::int64_t now_ms);
  void worked_off(const std::string& backend, std::int64_t tokens);
  // left: what began() returned, with the tokens not worked off yet; num_events: of its answer.
  void ended(const std::string& backend, const Demand& demand, Work left, std::int64_t num_events,
             LeaseEnd end, std::int64_t now_ms);

  // Its key has as many at work as it may.
  bool is_key_full(const Demand& demand) const;
  bool limits_key(const std::string& key) const { return keys_.contains(key); }
  // Fills in what is known here of a backend.
  void describe(const Backend& backend, BackendStatus& status, std::int64_t now_ms) const;

 private:
  struct BackendUse {
    std::int64_t tokens = 0;  // that wait there
    CircuitBreaker breaker;
    std::unordered_map<std::uint64_t, std::int64_t> prefixes;  // seen there, to when last
  };
  struct Bucket {  // of a rate: what may still be had now
    double left = 0;
    std::int64_t at_ms = 0;
    void refill(double per_minute, std::int64_t now_ms);
  };
  struct KeyUse {
    KeyConfig config;
    std::int32_t num_waiting = 0;
    std::int32_t num_running = 0;
    Bucket requests;
    Bucket tokens;
  };

  KeyUse* key_of(const Demand& demand);
  std::int64_t saved_tokens(const BackendUse& use, const Demand& demand) const;
  void remember(BackendUse& use, const Demand& demand, std::int64_t now_ms);

  BreakerPolicy breaker_policy_;
  std::map<std::string, KeyUse> keys_;          // by name
  std::map<std::string, BackendUse> backends_;  // by identity: a new process is a new backend
};

}  // namespace tandem
