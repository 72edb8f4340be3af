#include "app/session.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/default_model.h"
#include "app/progress.h"
#include "device/device.h"
#include "machine/device_list.h"
#include "machine/local_machine.h"

namespace tandem {
namespace {

Result<std::vector<MachineDevice>> select(const std::string& list, const Machine& machine) {
  TANDEM_TRY(const auto specs, parse_device_list(list));
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

Result<std::unique_ptr<Device>> open_device(const MachineDevice& device,
                                            const ModelOptions& options) {
  if (device.kind == MachineDeviceKind::kGpu) {
    return unsupported(device.id, "this build has no CUDA support",
                       "a build made where nvcc (CUDA 12 or 13) is installed");
  }
  CpuDeviceOptions cpu;
  cpu.cores = device.cores;
  const auto threads = static_cast<std::size_t>(options.threads.value_or(0));
  if (threads > 0 && threads < cpu.cores.size()) cpu.cores.resize(threads);
  cpu.arithmetic = options.arithmetic == "float" ? Arithmetic::kFloat : Arithmetic::kInt8;
  cpu.instruction_set = options.instruction_set;
  return create_cpu_device(device.id, cpu);
}

std::string device_ids(const Plan& plan) {
  std::string list;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) list += (list.empty() ? "" : ",") + rank.device;
  }
  return list;
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
  TANDEM_TRY(const auto devices, devices_of(options));
  return choose_plan(spec, devices, request);
}

Result<std::unique_ptr<Runtime>> start_runtime(const OpenedModel& model, Plan plan,
                                               const ModelOptions& options,
                                               RuntimeOptions runtime_options) {
  TANDEM_TRY(const Machine machine, detect_local_machine());
  TANDEM_TRY(const auto parts, select(device_ids(plan), machine));
  std::vector<std::unique_ptr<Device>> devices;
  for (const MachineDevice& part : parts) {
    TANDEM_TRY(auto device, open_device(part, options));
    devices.push_back(std::move(device));
  }
  ProgressBar progress("loading weights");
  runtime_options.on_load_progress = [&progress](std::int64_t done, std::int64_t total) {
    progress.update(done, total);
  };
  return Runtime::create(std::move(plan), model.spec, model.file, std::move(devices),
                         runtime_options);
}

}  // namespace tandem
