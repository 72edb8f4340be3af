#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"

namespace tandem {

// The line of the file that a thing was read from, for messages. Equal to every other: a thing that
// only moved within the file has not changed.
struct SourceLine {
  int number = 0;
  bool operator==(const SourceLine&) const { return true; }
};

// [limits] for all models; a [[model]] may set its own.
struct TrafficLimits {
  std::int32_t max_concurrent = 0;  // requests at work; 0: parallel x replicas, and no own limit
                                    // on upstreams
  std::int32_t max_queued = 128;    // waiting, for a place or for the model; more: 429
  std::int64_t queue_timeout_ms = 300'000;        // of waiting, loading included; then 503
  std::int64_t first_event_timeout_ms = 600'000;  // from sending to the worker's first byte
  std::int64_t stall_timeout_ms = 120'000;        // between two bytes of an answer
  std::int32_t max_retries = 2;                   // on other replicas, while nothing was sent
  bool operator==(const TrafficLimits&) const = default;
};

// When a model is in memory.
struct ResidencyPolicy {
  bool on_demand = false;           // load = "on-demand"; else at start
  bool pinned = false;              // never evicted nor unloaded for idleness
  std::int32_t priority = 0;        // higher stays longer
  std::int64_t idle_unload_ms = 0;  // after so long without a request; 0: never
  std::int64_t load_timeout_ms = 600'000;
  bool operator==(const ResidencyPolicy&) const = default;
};

// [supervision]: of the worker processes.
struct SupervisionPolicy {
  std::int64_t restart_delay_ms = 500;         // doubled with each failure in a row ...
  std::int64_t restart_delay_max_ms = 30'000;  // ... up to this
  std::int32_t max_restarts = 5;  // within restart_window; then the model is failed ...
  std::int64_t restart_window_ms = 300'000;
  std::int64_t failed_cooldown_ms = 60'000;  // ... and is tried again after this
  std::int64_t health_interval_ms = 2'000;
  std::int64_t health_timeout_ms = 5'000;
  std::int64_t hang_timeout_ms = 30'000;  // requests at work and no sign of life
  std::int64_t drain_timeout_ms = 30'000;
  std::int64_t kill_delay_ms = 10'000;  // from SIGTERM to SIGKILL
  bool operator==(const SupervisionPolicy&) const = default;
};

// [breaker]: of each replica and upstream.
struct BreakerPolicy {
  std::int32_t failures = 5;  // in a row, or half of the window's requests where these are more
  std::int64_t window_ms = 30'000;
  std::int64_t open_ms = 10'000;  // then one request tries; sooner where there is no other backend
  bool operator==(const BreakerPolicy&) const = default;
};

// [placement]: of all models together.
struct PlacementPolicy {
  std::vector<std::string> devices;  // entries of --devices; empty: auto
  SourceLine devices_line;
  std::int64_t gpu_reserve_bytes = 256 * kMiB;  // left free on each GPU
  std::int64_t host_reserve_bytes = kGiB;       // and of the host's memory
  bool operator==(const PlacementPolicy&) const = default;
};

}  // namespace tandem
