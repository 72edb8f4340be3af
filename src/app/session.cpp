#include "app/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/default_model.h"
#include "app/open_devices.h"
#include "app/progress.h"
#include "base/log.h"
#include "device/device.h"
#include "machine/device_list.h"
#include "machine/local_machine.h"
#include "plan/calibration.h"
#include "plan/offload.h"
#include "plan/requested_layout.h"
#include "runtime/gpu_groups.h"

namespace tandem {
namespace {

bool has_gpu(const std::vector<MachineDevice>& devices) {
  return std::ranges::any_of(
      devices, [](const MachineDevice& device) { return device.kind == MachineDeviceKind::kGpu; });
}

// Where the machine shows no GPU and one was named: what is missing (a build with CUDA, the driver,
// a GPU) in the words of what would have run on it.
Status check_named_gpus(const std::vector<DeviceSpec>& specs, const Machine& machine) {
  const auto named = std::ranges::find(specs, DeviceSpec::Kind::kCuda, &DeviceSpec::kind);
  if (has_gpu(machine.devices) || named == specs.end()) return {};
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

// What runs elsewhere than its user may think.
void tell_placement(const ModelSpec& spec, const Plan& plan,
                    const std::vector<MachineDevice>& devices, const OffloadRequest& offload) {
  if (!has_gpu(devices)) {
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
  const std::vector<std::string> used = device_ids_of(plan);
  for (const MachineDevice& device : devices) {
    if (device.kind != kind || std::ranges::find(used, device.id) != used.end()) continue;
    idle += (idle.empty() ? "" : ", ") + device.id;
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

Result<LocalMachine> local_machine() {
  LocalMachine local;
  TANDEM_TRY(local.machine, detect_local_machine());
  if (!has_gpu(local.machine.devices)) return local;
  auto calibration = user_calibration();
  if (calibration && apply_measured_gpu_rates(calibration->machine, local.machine)) {
    local.engine = std::move(calibration->engine);
  }
  return local;
}

Result<std::vector<MachineDevice>> devices_of(const ModelOptions& options, const Machine& machine) {
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
  TANDEM_TRY(const LocalMachine local, local_machine());
  offload.links = local.machine.links;
  if (local.engine) offload.engine = &*local.engine;
  TANDEM_TRY(const auto devices, select(options.devices, local.machine));
  TANDEM_TRY(const auto processor, select("cpu", local.machine));
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
