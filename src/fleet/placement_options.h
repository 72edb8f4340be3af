#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fleet/packing.h"
#include "fleet/placement.h"

namespace tandem {

// A way to run a replica, with what packing knows of it.
struct PlacementOption {
  ReplicaPlacement replica;
  PackingOption packing;
};

// The machine as placement sees it: devices by name, pools of memory, units of computing.
class FleetMachine {
 public:
  // Errors: [placement] devices that the machine has not.
  static Result<FleetMachine> create(const Machine& machine, const PlacementPolicy& policy);

  const std::vector<MemoryPool>& pools() const { return pools_; }
  std::size_t num_units() const { return units_.size(); }
  // What a replica without devices of its own may use.
  const std::vector<MachineDevice>& auto_devices() const { return auto_devices_; }
  // Errors: devices that the machine has not.
  Result<std::vector<MachineDevice>> named_devices(const std::vector<std::string>& names) const;
  std::size_t pool_of(const MachineDevice& device) const;
  std::vector<std::size_t> units_of(const MachineDevice& device) const;
  // These devices as a machine of their own, with the memory that `room` (by pool) leaves them.
  Machine part(const std::vector<MachineDevice>& devices,
               const std::vector<std::int64_t>& room) const;

 private:
  Machine machine_;
  std::vector<MemoryPool> pools_;
  std::vector<MachineDevice> auto_devices_;
  std::map<std::string, std::size_t> units_;  // "cuda:0", "core 3"
};

// The option of running a replica of `model` on all of `devices` with `room` bytes by pool.
// Errors: kDoesNotFit, and requests that cannot be obeyed there.
Result<PlacementOption> option_on(const FleetMachine& machine, const ModelConfig& model,
                                  const std::optional<ModelSpec>& spec,
                                  const std::vector<MachineDevice>& devices,
                                  const std::vector<std::int64_t>& room);

// The sets of devices that a replica with `devices` left open may run on.
std::vector<std::vector<MachineDevice>> device_sets(const std::vector<MachineDevice>& devices);

}  // namespace tandem
