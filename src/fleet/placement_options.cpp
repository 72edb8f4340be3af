#include "fleet/placement_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "machine/device_list.h"
#include "plan/search.h"

namespace tandem {
namespace {

// Room that no machine has: where a device's memory is not known.
constexpr std::int64_t kUnlimitedBytes = std::int64_t{1} << 60;
constexpr std::size_t kAllSubsetsUpTo = 5;
constexpr const char* kHostPool = "host";

int gpu_index_of(const MachineDevice& device) {
  const auto specs = parse_device_list(device.id);
  return specs.ok() ? specs->front().gpu_index : 0;
}

bool has_prediction(const Plan& plan) {
  return plan.predicted && plan.predicted->decode_tokens_per_s > 0;
}

// The best plan over all of the devices.
Result<Plan> plan_on(const ModelConfig& model, const ModelSpec& spec, const Machine& machine) {
  const PlanRequest& asked = model.placement.plan;
  TANDEM_TRY(const EngineProfile* engine,
             find_engine(model.worker.empty() ? "tandem" : "llama.cpp"));
  const auto bench = bench_of(machine, *engine);
  // Shares by hand leave nothing to search; nor do cards that no catalogue knows.
  if (!asked.shares.empty() || !bench.ok()) {
    TANDEM_TRY(Plan plan, choose_plan(spec, machine.devices, asked));
    if (bench.ok()) {
      TANDEM_TRY_STATUS(predict(plan, ModelCosts(spec, asked.kv_type), *bench, Workload{}));
    }
    return plan;
  }
  SearchRequest request;
  request.plan = asked;
  request.use_all_devices = true;
  TANDEM_TRY(SearchResult found, search_plans(spec, machine, *engine, request));
  for (Plan& plan : found.plans) {
    if (plan.fits) return std::move(plan);
  }
  return Error{ErrorCode::kDoesNotFit, found.plans.front().why_not, {}, {}, {}};
}

// What the replica takes of each device: by plan, or by `memory`.
void fill_shares(const FleetMachine& machine, const std::optional<std::int64_t>& memory_bytes,
                 const std::vector<MachineDevice>& devices, ReplicaPlacement& replica) {
  std::map<std::string, const RankPlan*> ranks;
  std::vector<std::string> order;
  if (replica.plan) {
    for (const StagePlan& stage : replica.plan->stages) {
      for (const RankPlan& rank : stage.ranks) {
        ranks[rank.device] = &rank;
        order.push_back(rank.device);
      }
    }
  } else {
    for (const MachineDevice& device : devices) order.push_back(device.id);
  }
  for (const std::string& name : order) {
    const MachineDevice& device = *std::find_if(
        devices.begin(), devices.end(), [&](const MachineDevice& one) { return one.id == name; });
    DeviceUse share{name, machine.pool_of(device), 0, 0, 0, 0};
    if (memory_bytes) {
      share.process_bytes = *memory_bytes;
    } else {
      const RankPlan& rank = *ranks.at(name);
      share.weights_bytes = rank.weights_bytes;
      share.kv_bytes = rank.kv_bytes;
      share.compute_bytes = rank.compute_bytes;
      // What usable_bytes() leaves to the driver, which every process takes anew.
      if (device.memory_bytes) share.process_bytes = *device.memory_bytes - usable_bytes(device);
    }
    replica.shares.push_back(std::move(share));
  }
}

void fill_visibility(const std::vector<MachineDevice>& devices, ReplicaPlacement& replica) {
  std::set<int> cores;
  for (const DeviceUse& share : replica.shares) {
    const MachineDevice& device =
        *std::find_if(devices.begin(), devices.end(),
                      [&](const MachineDevice& one) { return one.id == share.device; });
    cores.insert(device.cores.begin(), device.cores.end());
    if (device.kind != MachineDeviceKind::kGpu) continue;
    const int gpu = gpu_index_of(device);
    if (std::find(replica.gpus.begin(), replica.gpus.end(), gpu) == replica.gpus.end()) {
      replica.gpus.push_back(gpu);
    }
  }
  // Beside GPUs the host's part is small and may run anywhere.
  if (replica.gpus.empty()) replica.cores.assign(cores.begin(), cores.end());
}

}  // namespace

Result<FleetMachine> FleetMachine::create(const Machine& machine, const PlacementPolicy& policy) {
  FleetMachine out;
  out.machine_ = machine;
  for (const MachineDevice& device : machine.devices) {
    if (device.kind != MachineDeviceKind::kGpu) continue;
    out.units_.emplace(device.id, out.units_.size());
    out.pools_.push_back(
        {device.id, device.name, device.memory_bytes.value_or(0), policy.gpu_reserve_bytes});
  }
  out.pools_.push_back({kHostPool, machine.host.cpu.value_or("host"),
                        machine.host.memory_bytes.value_or(0), policy.host_reserve_bytes});
  std::set<int> cores;
  for (const MachineDevice& device : machine.devices) {
    cores.insert(device.cores.begin(), device.cores.end());
  }
  for (const NumaNode& node : machine.host.numa_nodes) {
    cores.insert(node.cores.begin(), node.cores.end());
  }
  for (const int core : cores) {
    out.units_.emplace("core " + std::to_string(core), out.units_.size());
  }
  const auto named =
      out.named_devices(policy.devices.empty() ? std::vector<std::string>{"auto"} : policy.devices);
  if (!named.ok()) {
    Error error = named.error();
    error.where = fmt::format("{}: [placement]: `devices`", policy.devices_line.number);
    return error;
  }
  out.auto_devices_ = *named;
  return out;
}

Result<std::vector<MachineDevice>> FleetMachine::named_devices(
    const std::vector<std::string>& names) const {
  TANDEM_TRY(const auto specs, parse_device_list(fmt::format("{}", fmt::join(names, ","))));
  return select_devices(specs, machine_);
}

std::size_t FleetMachine::pool_of(const MachineDevice& device) const {
  const std::string name =
      device.kind == MachineDeviceKind::kGpu ? whole_device_id(device.id) : std::string(kHostPool);
  for (std::size_t pool = 0; pool < pools_.size(); ++pool) {
    if (pools_[pool].name == name) return pool;
  }
  return pools_.size() - 1;
}

std::vector<std::size_t> FleetMachine::units_of(const MachineDevice& device) const {
  if (device.kind == MachineDeviceKind::kGpu) return {units_.at(whole_device_id(device.id))};
  std::vector<std::size_t> units;
  for (const int core : device.cores) {
    const auto found = units_.find("core " + std::to_string(core));
    if (found != units_.end()) units.push_back(found->second);
  }
  return units;
}

Machine FleetMachine::part(const std::vector<MachineDevice>& devices,
                           const std::vector<std::int64_t>& room) const {
  Machine out;
  out.host = machine_.host;
  out.devices = devices;
  // Devices of one pool share its room: GPU parts evenly, CPU devices by their cores.
  std::vector<std::int64_t> weights(pools_.size(), 0);
  const auto weight_of = [](const MachineDevice& device) {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(device.cores.size()));
  };
  for (const MachineDevice& device : devices) weights[pool_of(device)] += weight_of(device);
  for (MachineDevice& device : out.devices) {
    const std::size_t pool = pool_of(device);
    device.memory_bytes.reset();
    if (pools_[pool].total_bytes == 0) continue;
    device.memory_bytes = std::max<std::int64_t>(0, room[pool]) / weights[pool] * weight_of(device);
  }
  for (const Link& link : machine_.links) {
    if (out.find_device(link.a) != nullptr && out.find_device(link.b) != nullptr) {
      out.links.push_back(link);
    }
  }
  return out;
}

Result<PlacementOption> option_on(const FleetMachine& machine, const ModelConfig& model,
                                  const std::optional<ModelSpec>& spec,
                                  const std::vector<MachineDevice>& devices,
                                  const std::vector<std::int64_t>& room) {
  std::vector<std::int64_t> left = room;
  // The process itself, which lies in the host's memory wherever the model does.
  left.back() -= kWorkerProcessBytes;
  const Machine part = machine.part(devices, left);
  PlacementOption option;
  ReplicaPlacement& replica = option.replica;
  if (spec) {
    TANDEM_TRY(replica.plan, plan_on(model, *spec, part));
    if (has_prediction(*replica.plan)) {
      replica.tokens_per_s = replica.plan->predicted->decode_tokens_per_s;
    }
  }
  fill_shares(machine, model.placement.memory_bytes, part.devices, replica);
  fill_visibility(part.devices, replica);
  replica.pool_bytes.assign(machine.pools().size(), 0);
  replica.pool_bytes.back() += kWorkerProcessBytes;
  std::set<std::size_t> units;
  for (const DeviceUse& share : replica.shares) {
    replica.pool_bytes[share.pool] += share.total_bytes();
    const auto of_device = machine.units_of(*part.find_device(share.device));
    units.insert(of_device.begin(), of_device.end());
  }
  for (std::size_t pool = 0; pool < room.size(); ++pool) {
    if (replica.pool_bytes[pool] <= room[pool]) continue;
    return Error{ErrorCode::kDoesNotFit,
                 fmt::format("{} has {} for it and it needs {}", machine.pools()[pool].name,
                             format_bytes(std::max<std::int64_t>(0, room[pool])),
                             format_bytes(replica.pool_bytes[pool])),
                 {},
                 {},
                 {}};
  }
  // Without a prediction all ways are alike but for their devices: fewer are better.
  const double rate = replica.tokens_per_s > 0 ? replica.tokens_per_s : 1.0;
  option.packing = {replica.pool_bytes, {units.begin(), units.end()}, rate};
  return option;
}

std::vector<std::vector<MachineDevice>> device_sets(const std::vector<MachineDevice>& devices) {
  std::vector<std::vector<MachineDevice>> sets;
  const std::size_t count = devices.size();
  if (count <= kAllSubsetsUpTo) {
    for (std::size_t mask = 1; mask < std::size_t{1} << count; ++mask) {
      auto& set = sets.emplace_back();
      for (std::size_t i = 0; i < count; ++i) {
        if ((mask >> i & 1u) != 0) set.push_back(devices[i]);
      }
    }
  } else {
    for (std::size_t size = 1; size < count; size *= 2) {
      for (std::size_t begin = 0; begin + size <= count; begin += size) {
        const auto first = devices.begin() + static_cast<std::ptrdiff_t>(begin);
        sets.emplace_back(first, first + static_cast<std::ptrdiff_t>(size));
      }
    }
    sets.push_back(devices);
  }
  std::stable_sort(sets.begin(), sets.end(),
                   [](const auto& a, const auto& b) { return a.size() < b.size(); });
  return sets;
}

std::int64_t MemoryPool::usable_bytes() const {
  if (total_bytes == 0) return kUnlimitedBytes;
  return std::max<std::int64_t>(0, total_bytes - reserve_bytes);
}

}  // namespace tandem
