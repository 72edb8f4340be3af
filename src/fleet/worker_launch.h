#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet/fleet_config.h"
#include "fleet/fleet_status.h"
#include "fleet/worker.h"
#include "plan/plan.h"

namespace tandem {

// A folder for sockets and plans that only this user can enter; gone with the object.
class RuntimeFolder {
 public:
  // In $XDG_RUNTIME_DIR, or /tmp. Errors: kIo.
  static Result<std::unique_ptr<RuntimeFolder>> create();
  ~RuntimeFolder();
  RuntimeFolder(const RuntimeFolder&) = delete;
  RuntimeFolder& operator=(const RuntimeFolder&) = delete;
  // A name there that was never given before, such as "3.sock".
  std::string next_path(const std::string& ending);

 private:
  explicit RuntimeFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::int64_t next_ = 0;
};

// A free TCP port of the loopback address. Another program may take it before ours does; ours then
// ends, and is started on another one.
Result<std::uint16_t> free_port();

// A replica of a model, as it was placed.
struct PlacedReplica {
  std::vector<std::string> devices;  // "cuda:0", "cpu:0-3"
  std::optional<Plan> plan;          // not of external workers
  std::vector<int> cores;            // of its process; empty: all
  std::vector<DeviceShare> shares;   // memory on each device
};

// Command and address of a replica's next process: `tandem serve` with its plan in a file, on a
// Unix socket; or the worker's own command, on a loopback port. program: the path of tandem itself.
Result<WorkerSettings::Start> next_start(const FleetConfig& config, const ModelConfig& model,
                                         const PlacedReplica& replica, const std::string& program,
                                         RuntimeFolder& folder);

}  // namespace tandem
