#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

// What the fleet shows of itself, at one moment.

// Memory of a replica on one device.
struct DeviceShare {
  std::string device;  // "cuda:0"
  std::int64_t bytes = 0;
};

struct BackendStatus {
  std::string name;   // "qwen/0", "upstream:name"
  std::string state;  // of WorkerState; of upstreams "ready" and "failed"
  std::string reason;
  std::int64_t pid = 0;              // 0: no process of ours
  std::vector<DeviceShare> devices;  // none of upstreams
  std::int32_t restarts = 0;
  std::string failed_device;  // whose failure ended its last process; empty: none, or it is well
  std::int32_t device_failures = 0;
  double load_s = 0;  // how long the last start took
  std::int32_t running = 0;
  std::int64_t outstanding_tokens = 0;
  std::string breaker;  // "closed", "open", "half-open"
};

struct ModelCounters {
  std::int64_t requests_2xx = 0;
  std::int64_t requests_4xx = 0;  // 429 and 499 apart
  std::int64_t requests_5xx = 0;
  std::int64_t refused = 0;    // 429
  std::int64_t cancelled = 0;  // the client went
  std::int64_t broken = 0;     // in the middle of the answer
  std::int64_t retries = 0;
  std::int64_t events = 0;
  double wait_s = 0;  // for places
  std::int64_t loads = 0;
  std::int64_t unloads = 0;
};

struct ModelStatus {
  std::string name;
  std::vector<std::string> aliases;
  std::string state;  // "unloaded", "loading", "ready", "draining", "failed"
  std::string reason;
  bool is_local = true;  // false: only upstreams serve it
  bool on_demand = false;
  bool pinned = false;
  std::int64_t context_tokens = 0;  // 0: not known
  std::int32_t running = 0;
  std::int32_t waiting = 0;
  std::vector<BackendStatus> backends;
  std::vector<DeviceShare> memory;  // that it takes of each device while it is loaded
  ModelCounters counters;
};

struct DeviceStatus {
  std::string id;
  std::string name;
  std::int64_t capacity_bytes = 0;
  std::int64_t used_bytes = 0;  // planned for what is loaded
};

struct FleetStatus {
  std::vector<ModelStatus> models;
  std::vector<DeviceStatus> devices;
  std::int64_t started_unix_s = 0;
  std::int32_t connections = 0;
  bool is_draining = false;
  bool is_starting = false;  // models of the start have neither been ready nor failed yet
};

// {"devices":[...],"models":[...]}: all of it.
std::string status_json(const FleetStatus& status);
// OpenAI's list with state and placement; `names`: of these models alone.
std::string model_list_json(const FleetStatus& status, const std::vector<std::string>& names);
std::string model_json(const ModelStatus& model, std::int64_t created_unix_s);
// Prometheus exposition format, with model, backend and device as labels.
std::string metrics_text(const FleetStatus& status);

}  // namespace tandem
