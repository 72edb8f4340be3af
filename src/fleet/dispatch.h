#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "fleet/policies.h"
#include "fleet/upstream_client.h"
#include "server/http/api_error.h"

namespace tandem {

// What a request asks of the fleet.
struct Demand {
  std::string model;               // its proper name
  std::string key;                 // the name of the client's key; empty without one
  std::int64_t prompt_tokens = 0;  // estimated from its bytes
  std::int64_t max_tokens = 0;     // of the answer; 0: not said
  std::vector<std::uint64_t>
      prefix;                      // hashes of the prompt's growing beginnings, the shortest first
  std::int64_t deadline_us = 0;    // monotonic; 0: none but the limits' own
  bool may_load = true;            // false: only where the model is ready
  std::vector<std::string> tried;  // identities of backends that have failed this request
};

// How a request's time with a backend ended.
enum class LeaseEnd : std::uint8_t {
  kAnswered,   // with whatever status, but for the next two
  kRefused,    // 502, 503 or 429: it cannot now
  kFailed,     // it broke or was not there
  kTimedOut,   // it said nothing for too long
  kCancelled,  // the client went
};

// A place at a backend (a worker or an upstream), held while a request is at work there. Dropping
// it without finish() counts as kCancelled.
class Lease {
 public:
  virtual ~Lease() = default;
  virtual UpstreamClient& client() = 0;
  virtual const std::string& backend() const = 0;  // "qwen/0", "upstream:name"
  virtual std::string identity() const = 0;        // the same as long as it is the same process
  virtual const std::string& remote_model() const = 0;  // the model's name there
  virtual const std::string& api_key() const = 0;       // to be shown there; empty: none
  virtual const TrafficLimits& limits() const = 0;
  virtual std::int64_t connect_timeout_ms() const = 0;
  // Something of the answer came; num_events of a stream.
  virtual void note_progress(std::int64_t num_events) = 0;
  virtual void finish(LeaseEnd end) = 0;
};

// A place in the queue; dropping it gives it up.
class Ticket {
 public:
  virtual ~Ticket() = default;
};

using Grant = std::variant<std::unique_ptr<Lease>, ApiError>;

// Finds each request a place. On the loop.
class Dispatcher {
 public:
  virtual ~Dispatcher() = default;
  // Calls `granted` exactly once, maybe before this returns, unless the ticket is dropped before.
  virtual std::unique_ptr<Ticket> acquire(const Demand& demand,
                                          std::function<void(Grant grant)> granted) = 0;
};

}  // namespace tandem
