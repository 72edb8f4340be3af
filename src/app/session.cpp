#include "app/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/default_model.h"
#include "app/progress.h"
#include "base/log.h"
#include "comm/cuda/cuda_group.h"
#include "comm/cuda/cuda_link.h"
#include "device/device.h"
#include "machine/device_list.h"
#include "machine/local_machine.h"
#include "plan/offload.h"
#include "plan/rank_bytes.h"
#include "plan/requested_layout.h"
#include "runtime/gpu_groups.h"

namespace tandem {
namespace {

// Where the machine shows no GPU and one was named: what is missing (a build with CUDA, the driver,
// a GPU) in the words of what would have run on it.
Status check_named_gpus(const std::vector<DeviceSpec>& specs, const Machine& machine) {
  const bool has_gpu = std::ranges::any_of(
      machine.devices, [](const MachineDevice& d) { return d.kind == MachineDeviceKind::kGpu; });
  const auto named = std::ranges::find(specs, DeviceSpec::Kind::kCuda, &DeviceSpec::kind);
  if (has_gpu || named == specs.end()) return {};
  CudaDeviceOptions options;
  options.gpu_index = named->gpu_index;
  const auto device = create_cuda_device(named->id(), options);
  return device.ok() ? Status{} : device.error().at("--devices");
}

Result<std::vector<MachineDevice>> select(const std::string& list, const Machine& machine) {
  TANDEM_TRY(const auto specs, parse_device_list(list));
  TANDEM_TRY_STATUS(check_named_gpus(specs, machine));
  return select_devices(specs, machine);
}

Result<Plan> read_plan(const std::string& path, const ModelSpec& spec) {
  std::ifstream stream(path);
  if (!stream) return not_found("plan file cannot be opened", path);
  std::stringstream text;
  text << stream.rdbuf();
  const auto json = nlohmann::json::parse(text.str(), nullptr, false);
  if (json.is_discarded()) return malformed(path, "not a JSON document");
  auto plan = plan_from_json(json, spec);
  if (!plan.ok()) return std::move(plan).error().at(path);
  return plan;
}

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

// GPUs exchange among themselves; where they do so by way of the host, the user hears why.
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
    TANDEM_TRY(CudaGroup group, create_cuda_group(devices, gpu));
    for (const std::string& note : group.notes) spdlog::warn("{}", note);
    if (group.transport == GpuTransport::kHost) {
      spdlog::warn("the GPUs of a stage exchange through host memory, which is slower");
    }
    return std::move(group.seats);
  };
}

// Where stages pass hidden states on through host memory although both are on GPUs, the user hears
// why.
Result<std::shared_ptr<StageLink>> make_gpu_link(Device& sender, std::span<Device* const> receivers,
                                                 const LocalLinkOptions& options) {
  TANDEM_TRY(CudaLink made, create_cuda_link(sender, receivers, options, GpuTransport::kAuto));
  for (const std::string& note : made.notes) {
    spdlog::warn("{}; between these stages hidden states pass through host memory", note);
  }
  return std::move(made.link);
}

std::vector<const RankPlan*> ranks_of(const Plan& plan) {
  std::vector<const RankPlan*> ranks;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) ranks.push_back(&rank);
  }
  return ranks;
}

// The plan's devices on this machine, one a rank.
Result<std::vector<std::unique_ptr<Device>>> open_devices(const ModelSpec& spec, const Plan& plan,
                                                          const ModelOptions& options) {
  const std::vector<const RankPlan*> ranks = ranks_of(plan);
  std::string list;
  for (const RankPlan* rank : ranks) list += (list.empty() ? "" : ",") + rank->device;
  TANDEM_TRY(const Machine machine, detect_local_machine());
  TANDEM_TRY(const auto specs, parse_device_list(list));
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

// What runs elsewhere than its user may think.
void tell_placement(const ModelSpec& spec, const Plan& plan,
                    const std::vector<MachineDevice>& devices, const OffloadRequest& offload) {
  const bool has_gpu = std::ranges::any_of(
      devices, [](const MachineDevice& device) { return device.kind == MachineDeviceKind::kGpu; });
  if (!has_gpu) {
    if (offload.gpu_layers.value_or(0) > 0) {
      spdlog::warn("-ngl has no effect: there is no GPU among the devices");
    }
    return;
  }
  const std::int32_t layers = num_layers_on(plan, devices, MachineDeviceKind::kGpu);
  if (layers < spec.num_layers) {
    spdlog::warn("{} of {} layers run on the processor", spec.num_layers - layers, spec.num_layers);
  }
}

// Devices of `kind` that the plan does without: "cuda:1, cuda:2".
std::string idle_devices(const Plan& plan, const std::vector<MachineDevice>& devices,
                         MachineDeviceKind kind) {
  std::string idle;
  const std::vector<const RankPlan*> ranks = ranks_of(plan);
  for (const MachineDevice& device : devices) {
    if (device.kind != kind) continue;
    const auto is_its = [&](const RankPlan* rank) { return rank->device == device.id; };
    if (std::ranges::none_of(ranks, is_its)) idle += (idle.empty() ? "" : ", ") + device.id;
  }
  return idle;
}

// What a plan does without although it could have been used.
void tell_idle(const Plan& plan, const std::vector<MachineDevice>& devices, bool are_named) {
  const std::string gpus = idle_devices(plan, devices, MachineDeviceKind::kGpu);
  if (!gpus.empty() && !are_named) {
    spdlog::warn(
        "{} not used: without, the model is predicted to be faster; --devices takes all GPUs that "
        "it names",
        gpus);
  }
  const std::string cores = idle_devices(plan, devices, MachineDeviceKind::kCpu);
  if (!cores.empty() && num_layers_on(plan, devices, MachineDeviceKind::kGpu) > 0) {
    spdlog::warn("{} not used: the GPUs hold the whole model; -ngl or --split layer give it layers",
                 cores);
  }
}

}  // namespace

Result<std::shared_ptr<const GgufFile>> open_model_file(const std::string& path) {
  if (!path.empty()) return GgufFile::open(path);
  fmt::print(stderr, "no -m given: using the embedded model {}\n", kDefaultModelName);
  return GgufFile::parse(default_model_image(), std::string(kDefaultModelName));
}

Result<OpenedModel> open_model(const std::string& path) {
  OpenedModel model;
  TANDEM_TRY(model.file, open_model_file(path));
  TANDEM_TRY(model.spec, model_spec_from_gguf(*model.file));
  return model;
}

Result<std::vector<MachineDevice>> devices_of(const ModelOptions& options) {
  TANDEM_TRY(const Machine machine, detect_local_machine());
  return select(options.devices, machine);
}

Result<Plan> make_plan(const ModelSpec& spec, const ModelOptions& options,
                       std::int32_t max_output_rows) {
  if (!options.plan_path.empty()) return read_plan(options.plan_path, spec);
  TANDEM_TRY(PlanRequest request, plan_request_of(options));
  request.max_output_rows = max_output_rows;
  OffloadRequest offload;
  TANDEM_TRY(offload.gpu_layers, gpu_layers_of(options));
  offload.devices_are_named = options.devices != "auto";
  TANDEM_TRY(const Machine machine, detect_local_machine());
  offload.links = machine.links;
  TANDEM_TRY(const auto devices, select(options.devices, machine));
  TANDEM_TRY(const auto processor, select("cpu", machine));
  TANDEM_TRY(Plan plan, choose_placed_plan(spec, devices, processor.front(), request, offload));
  tell_placement(spec, plan, devices, offload);
  const bool is_chosen = leaves_split_open(request) && !offload.gpu_layers;
  if (is_chosen) tell_idle(plan, devices, offload.devices_are_named);
  return plan;
}

Result<std::unique_ptr<Runtime>> start_runtime(const OpenedModel& model, Plan plan,
                                               const ModelOptions& options,
                                               RuntimeOptions runtime_options) {
  TANDEM_TRY(auto devices, open_devices(model.spec, plan, options));
  ProgressBar progress("loading weights");
  runtime_options.on_load_progress = [&progress](std::int64_t done, std::int64_t total) {
    progress.update(done, total);
  };
  return create_runtime(std::move(plan), model.spec, model.file, std::move(devices),
                        runtime_options, gpu_group_maker(options), make_gpu_link);
}

}  // namespace tandem
