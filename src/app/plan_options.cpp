#include "app/plan_options.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/local_rates.h"
#include "app/text_input.h"
#include "gguf/gguf_file.h"
#include "machine/device_list.h"
#include "machine/local_machine.h"
#include "machine/machine_json.h"
#include "model/file_type.h"
#include "plan/calibration.h"
#include "plan/machine_text.h"
#include "plan/planned_models.h"

namespace tandem {
namespace {

// Quantisations that people choose among, largest first.
constexpr const char* kUsualQuants[] = {"F16",    "Q8_0",   "Q6_K",   "Q5_K_M",
                                        "Q4_K_M", "Q4_K_S", "Q3_K_M", "Q2_K"};

// A description from outside has figures that mean something.
Status check_machine(const Machine& machine) {
  if (machine.devices.empty()) return malformed("machine", "no devices");
  for (const MachineDevice& device : machine.devices) {
    if (device.memory_bytes && *device.memory_bytes <= 0) {
      return malformed("machine: " + device.id, "memory_bytes must be above 0", {},
                       std::to_string(*device.memory_bytes));
    }
    if (device.bandwidth_gbps && !(*device.bandwidth_gbps > 0 && *device.bandwidth_gbps < 1e6)) {
      return malformed("machine: " + device.id, "bandwidth_gbps must lie above 0 and below 1e6");
    }
    if (device.power_limit_w && !(*device.power_limit_w > 0)) {
      return malformed("machine: " + device.id, "power_limit_w must be above 0");
    }
  }
  for (const Link& link : machine.links) {
    if (link.a == link.b)
      return malformed("machine: link", "a device linked to itself", {}, link.a);
    if ((link.bandwidth_gbps && !(*link.bandwidth_gbps > 0 && *link.bandwidth_gbps < 1e6)) ||
        (link.latency_us && !(*link.latency_us >= 0))) {
      return malformed("machine: link " + link.a + " - " + link.b,
                       "bandwidth_gbps must be above 0 and latency_us not below");
    }
  }
  return {};
}

Result<ChosenMachine> machine_from_file(const std::string& path) {
  TANDEM_TRY(const std::string text, read_text_file(path));
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return malformed(path, "not JSON");
  ChosenMachine out;
  if (json.is_object() && json.contains("machine") && json.contains("engines")) {
    TANDEM_TRY(Calibration calibration, parse_calibration(text, path));
    out.calibrated = std::move(calibration.engine);
    out.notes.push_back("constants of " + path + ", " + out.calibrated->source);
  }
  // `doctor --json` and `plan --json` hold the machine beside other things.
  if (json.is_object() && json.contains("machine")) json = nlohmann::json(json["machine"]);
  auto machine = machine_from_json(json);
  if (!machine.ok()) return machine.error().at(path);
  if (const Status sound = check_machine(*machine); !sound.ok()) return sound.error().at(path);
  out.machine = *std::move(machine);
  return out;
}

Status select_devices_of(Machine& machine, const std::string& list) {
  TANDEM_TRY(const auto specs, parse_device_list(list));
  TANDEM_TRY(auto selected, select_devices(specs, machine));
  machine.devices = std::move(selected);
  std::erase_if(machine.links, [&](const Link& link) {
    return machine.find_device(link.a) == nullptr || machine.find_device(link.b) == nullptr;
  });
  return {};
}

Result<ChosenMachine> local_machine(const std::string& devices) {
  ChosenMachine out;
  TANDEM_TRY(out.machine, detect_local_machine());
  if (!devices.empty()) TANDEM_TRY_STATUS(select_devices_of(out.machine, devices));
  if (auto calibration = user_calibration();
      calibration && apply_measured_rates(calibration->machine, out.machine)) {
    out.notes.push_back("rates and constants of " + calibration->path + ", " +
                        calibration->engine.source);
    out.calibrated = std::move(calibration->engine);
    return out;
  }
  const bool only_processors = std::all_of(
      out.machine.devices.begin(), out.machine.devices.end(),
      [](const MachineDevice& device) { return device.kind == MachineDeviceKind::kCpu; });
  if (only_processors) {
    TANDEM_TRY_STATUS(measure_local_rates(out.machine));
    out.notes.push_back(
        "processor: rates measured just now, other programs included; the engine's constants are "
        "typical ones (`tandem bench --calibrate` measures this computer's)");
  }
  return out;
}

}  // namespace

Result<ChosenModel> choose_model(const ModelChoice& choice) {
  ChosenModel out;
  if (!choice.path.empty() && !choice.name.empty()) {
    return invalid_argument("give either -m FILE or --model NAME");
  }
  if (!choice.path.empty()) {
    TANDEM_TRY(const auto file, GgufFile::open(choice.path));
    TANDEM_TRY(out.spec, model_spec_from_gguf(*file));
    out.title = out.spec.name.empty() ? choice.path : out.spec.name;
    out.source = choice.path;
    return out;
  }
  if (choice.name.empty()) return invalid_argument("no model: give -m FILE or --model NAME");
  TANDEM_TRY(PlannableModel model, plannable_model(choice.name, choice.quant));
  out.spec = std::move(model.spec);
  out.title = model.title;
  out.source = model.source;
  out.runnable = model.runnable;
  for (const char* quant : kUsualQuants) {
    auto other = plannable_model(choice.name, quant);
    if (other.ok() && other->spec.file_type != out.spec.file_type) {
      out.alternatives.push_back({quant, std::move(other->spec)});
    }
  }
  return out;
}

Result<ChosenMachine> choose_machine(const MachineChoice& choice) {
  const int ways = (choice.gpus.empty() ? 0 : 1) + (choice.path.empty() ? 0 : 1) +
                   (choice.devices.empty() ? 0 : 1);
  if (ways > 1) return invalid_argument("give one of --gpu, --machine and --devices");
  if (!choice.gpus.empty()) {
    ChosenMachine out;
    TANDEM_TRY(out.machine, machine_from_text({choice.gpus, choice.link, true}));
    return out;
  }
  if (!choice.link.empty()) {
    return invalid_argument("--link goes with --gpu: other machines say their links themselves");
  }
  if (!choice.path.empty()) return machine_from_file(choice.path);
  return local_machine(choice.devices);
}

Result<std::optional<SplitMode>> split_named(const std::string& name) {
  if (name == "auto") return std::optional<SplitMode>{};
  if (name == "none") return std::optional<SplitMode>(SplitMode::kNone);
  if (name == "layer") return std::optional<SplitMode>(SplitMode::kLayer);
  if (name == "tensor" || name == "row") return std::optional<SplitMode>(SplitMode::kTensor);
  if (name == "hybrid") return std::optional<SplitMode>(SplitMode::kHybrid);
  return invalid_argument("unknown --split", "auto, none, layer, tensor (row) or hybrid", name);
}

Status write_text_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return Error{ErrorCode::kIo, "cannot write", path, {}, {}};
  return {};
}

}  // namespace tandem
