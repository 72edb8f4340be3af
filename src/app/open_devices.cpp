#include "app/open_devices.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "comm/cuda/cuda_group.h"
#include "comm/cuda/cuda_link.h"
#include "machine/device_list.h"
#include "machine/local_machine.h"
#include "plan/rank_bytes.h"

namespace tandem {
namespace {

Arithmetic arithmetic_of(const ModelOptions& options) {
  return options.arithmetic == "float" ? Arithmetic::kFloat : Arithmetic::kInt8;
}

// The GPU, or the part of one, that a rank of the plan runs on. specs: of all ranks.
Result<std::unique_ptr<Device>> open_gpu(const RankPlan& rank, std::int64_t scratch_bytes,
                                         const DeviceSpec& spec,
                                         const std::vector<DeviceSpec>& specs,
                                         const ModelOptions& options) {
  CudaDeviceOptions gpu;
  gpu.gpu_index = spec.gpu_index;
  gpu.num_parts =
      static_cast<int>(std::count_if(specs.begin(), specs.end(), [&](const DeviceSpec& other) {
        return other.kind == spec.kind && other.gpu_index == spec.gpu_index;
      }));
  gpu.arena_bytes = rank.total_bytes();
  gpu.scratch_bytes = scratch_bytes;
  gpu.arithmetic = arithmetic_of(options);
  return create_cuda_device(rank.device, gpu);
}

Result<std::unique_ptr<Device>> open_cpu(const MachineDevice& device, const ModelOptions& options) {
  CpuDeviceOptions cpu;
  cpu.cores = device.cores;
  // Ranks that share cores on purpose ("cpu:0#1") may use whatever core is free.
  cpu.pin_threads = device.id.find('#') == std::string::npos;
  const auto threads = static_cast<std::size_t>(options.threads.value_or(0));
  if (threads > 0 && threads < cpu.cores.size()) cpu.cores.resize(threads);
  cpu.arithmetic = arithmetic_of(options);
  cpu.instruction_set = options.instruction_set;
  return create_cpu_device(device.id, cpu);
}

WireType wire_of(const ModelOptions& options) {
  if (options.reduce_wire == "f16") return WireType::kF16;
  return options.reduce_wire == "bf16" ? WireType::kBf16 : WireType::kF32;
}

}  // namespace

std::vector<std::string> device_ids_of(const Plan& plan) {
  std::vector<std::string> ids;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) ids.push_back(rank.device);
  }
  return ids;
}

Result<std::vector<std::unique_ptr<Device>>> open_devices(const ModelSpec& spec, const Plan& plan,
                                                          const ModelOptions& options) {
  std::vector<const RankPlan*> ranks;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) ranks.push_back(&rank);
  }
  TANDEM_TRY(const Machine machine, detect_local_machine());
  TANDEM_TRY(const auto specs,
             parse_device_list(fmt::format("{}", fmt::join(device_ids_of(plan), ","))));
  TANDEM_TRY(const auto parts, select_devices(specs, machine));
  std::vector<std::unique_ptr<Device>> devices;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool is_gpu = parts[i].kind == MachineDeviceKind::kGpu;
    const std::int64_t scratch = gpu_scratch_bytes_of(spec, ranks[i]->shard, step_limits_of(plan));
    TANDEM_TRY(auto device, is_gpu ? open_gpu(*ranks[i], scratch, specs[i], specs, options)
                                   : open_cpu(parts[i], options));
    devices.push_back(std::move(device));
  }
  return devices;
}

GpuGroupMaker gpu_group_maker(const ModelOptions& options) {
  return [wire = wire_of(options)](
             std::span<Device* const> devices,
             const LocalGroupOptions& local) -> Result<std::vector<std::unique_ptr<Communicator>>> {
    CudaGroupOptions gpu;
    gpu.deadline_us = local.deadline_us;
    gpu.algorithm = local.algorithm;
    gpu.wire = wire;
    // Other wires round more often in two shots than in one: a run's bits would depend on what was
    // measured.
    gpu.measure_crossovers = wire == WireType::kF32;
    gpu.max_bytes = local.max_bytes;
    gpu.injected_delay_us = local.injected_delay_us;
    // What copy engines move is not delayed.
    if (local.injected_delay_us > 0) gpu.algorithm = ReduceAlgorithm::kTwoShot;
    TANDEM_TRY(CudaGroup group, create_cuda_group(devices, gpu));
    for (const std::string& note : group.notes) spdlog::warn("{}", note);
    if (group.transport == GpuTransport::kHost) {
      spdlog::warn("the GPUs of a stage exchange through host memory, which is slower");
    }
    return std::move(group.seats);
  };
}

Result<std::shared_ptr<StageLink>> make_gpu_link(Device& sender, std::span<Device* const> receivers,
                                                 const LocalLinkOptions& options) {
  TANDEM_TRY(CudaLink made, create_cuda_link(sender, receivers, options, GpuTransport::kAuto));
  for (const std::string& note : made.notes) {
    spdlog::warn("{}; between these stages hidden states pass through host memory", note);
  }
  return std::move(made.link);
}

}  // namespace tandem
