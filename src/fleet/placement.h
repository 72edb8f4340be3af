#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "fleet/fleet_config.h"
#include "machine/machine.h"
#include "model/model_spec.h"
#include "plan/plan.h"

namespace tandem {

// Memory that whoever runs on it shares: a GPU's, or the host's, whatever its CPU devices.
struct MemoryPool {
  std::string name;              // "cuda:0", "host"
  std::string title;             // "RTX 3090"
  std::int64_t total_bytes = 0;  // 0: not known, everything fits
  std::int64_t reserve_bytes = 0;
  std::int64_t usable_bytes() const;  // a number beyond every machine where it is not known
};

// What a replica takes of one device.
struct DeviceUse {
  std::string device;    // as --devices names it
  std::size_t pool = 0;  // its memory
  std::int64_t weights_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t compute_bytes = 0;
  std::int64_t process_bytes = 0;  // of the driver's context, or by `memory` all of it
  std::int64_t total_bytes() const {
    return weights_bytes + kv_bytes + compute_bytes + process_bytes;
  }
};

// One replica: where it runs, and what its worker process may see.
struct ReplicaPlacement {
  std::vector<DeviceUse> shares;         // in the plan's order of devices
  std::optional<Plan> plan;              // nullopt: an external worker that only `memory` describes
  std::vector<std::int64_t> pool_bytes;  // by pool, the process on the host included
  std::vector<int> gpus;    // CUDA_VISIBLE_DEVICES, with CUDA_DEVICE_ORDER=PCI_BUS_ID; may be empty
  std::vector<int> cores;   // the process's CPU set; empty: all
  double tokens_per_s = 0;  // decode, predicted, alone on its devices; 0: not known

  std::string device_list() const;  // "cuda:0,cuda:1", as --devices takes it
};

struct ModelPlacement {
  std::string name;
  bool is_resident = true;  // in memory from the start (or pinned): has its room for itself
  std::vector<ReplicaPlacement> replicas;  // those that have room
  std::int32_t num_missing = 0;            // replicas without room
  bool fits_beside_residents = true;       // on demand: without evicting any
  std::string why_not;                     // where replicas are missing
  std::vector<std::string> would_fit;      // changes that were tried and would make room

  std::vector<std::int64_t> needs() const;  // of all replicas, by pool
};

// All models of a fleet on one machine: a value.
struct FleetPlacement {
  std::vector<MemoryPool> pools;
  std::vector<ModelPlacement> models;  // in the configuration's order
  double value = 0;                    // of the objective (packing.h)
  bool is_optimal = false;             // among the options that were considered

  bool fits() const;  // every replica has room
  const ModelPlacement* find(std::string_view model) const;
};

// What a worker process takes of the host's memory beside its plan: some 25 MiB with a small
// vocabulary (program, threads, HTTP), more with one of 250,000 tokens.
inline constexpr std::int64_t kWorkerProcessBytes = 64 * kMiB;

// Packs all models onto the machine.
//   specs: by model; nullopt where an external worker's file is not GGUF.
// Where `devices` are named a replica runs on all of them. Else every subset of the devices that
// may be used is an option (with more than five devices: each alone, aligned runs of 2, 4, ..., and
// all), laid out by search_plans() for the lowest latency in the room that there is; an option that
// does not fit is laid out again for what the others left. pack() chooses. With replicas = "auto"
// replicas are added one at a time while the objective grows by more than 0.05.
// Residents all fit together; each on-demand model fits beside those that are pinned.
// The same input gives the same placement. Errors: devices that the machine has not, requests that
// contradict themselves, with the line of the file where they were asked for; where something does
// not fit, the placement says so.
Result<FleetPlacement> place_fleet(const FleetConfig& config, const Machine& machine,
                                   const std::vector<std::optional<ModelSpec>>& specs);

nlohmann::json to_json(const FleetPlacement& placement);

// For people: a picture of each device's memory, each replica's place and bytes, what does not fit
// and what would.
std::string placement_text(const FleetPlacement& placement);

}  // namespace tandem
