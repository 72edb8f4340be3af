#include "plan/calibration.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "machine/machine_json.h"
#include "machine/user_data.h"

namespace tandem {
namespace {

constexpr const char* kVariable = "TANDEM_CALIBRATION";
constexpr const char* kFileName = "calibration.json";

bool is_same_computer(const Machine& measured, const Machine& machine) {
  return !measured.host.cpu || !machine.host.cpu || *measured.host.cpu == *machine.host.cpu;
}

bool is_measured(const MachineDevice& device) {
  return device.kind == MachineDeviceKind::kCpu && device.bandwidth_gbps && device.products &&
         !device.cores.empty();
}

const MachineDevice* measured_gpu(const Machine& measured, const std::string& name) {
  for (const MachineDevice& device : measured.devices) {
    const bool is_it = device.kind == MachineDeviceKind::kGpu && device.name == name;
    if (is_it && device.bandwidth_gbps && device.products) return &device;
  }
  return nullptr;
}

// The measured device whose number of cores is nearest by ratio.
const MachineDevice* nearest(const Machine& measured, std::size_t cores) {
  const MachineDevice* best = nullptr;
  const auto distance = [cores](const MachineDevice& device) {
    return std::abs(
        std::log(static_cast<double>(device.cores.size()) / static_cast<double>(cores)));
  };
  for (const MachineDevice& device : measured.devices) {
    if (!is_measured(device)) continue;
    if (best == nullptr || distance(device) < distance(*best)) best = &device;
  }
  return best;
}

std::size_t measured_cores(const Machine& measured) {
  std::size_t cores = 0;
  for (const MachineDevice& device : measured.devices) {
    if (is_measured(device)) cores += device.cores.size();
  }
  return cores;
}

void apply_to_device(const Machine& measured, MachineDevice& device) {
  const MachineDevice& like = *nearest(measured, device.cores.size());
  const double ratio =
      static_cast<double>(device.cores.size()) / static_cast<double>(like.cores.size());
  double bandwidth = *like.bandwidth_gbps * ratio;
  if (const auto& together = measured.host.bandwidth_gbps) {
    bandwidth = device.cores.size() == measured_cores(measured) ? *together
                                                                : std::min(bandwidth, *together);
  }
  device.bandwidth_gbps = bandwidth;
  device.products =
      ProductRates{like.products->int8_gops * ratio, like.products->bf16_gflops * ratio,
                   like.products->float_gflops * ratio};
}

// One pair of neighbours stands for all of one computer.
void apply_to_links(const Machine& measured, Machine& machine) {
  const auto like =
      std::find_if(measured.links.begin(), measured.links.end(), [](const Link& link) {
        return link.kind == LinkKind::kSharedMemory && link.latency_us && link.bandwidth_gbps;
      });
  if (like == measured.links.end()) return;
  for (std::size_t a = 0; a < machine.devices.size(); ++a) {
    for (std::size_t b = a + 1; b < machine.devices.size(); ++b) {
      const MachineDevice& from = machine.devices[a];
      const MachineDevice& to = machine.devices[b];
      if (from.kind != MachineDeviceKind::kCpu || to.kind != MachineDeviceKind::kCpu) continue;
      if (machine.find_link(from.id, to.id) == nullptr) {
        machine.links.push_back({from.id, to.id, LinkKind::kSharedMemory, {}, {}, true});
      }
    }
  }
  for (Link& link : machine.links) {
    if (link.kind != LinkKind::kSharedMemory) continue;
    link.latency_us = like->latency_us;
    link.bandwidth_gbps = like->bandwidth_gbps;
  }
}

// True where a GPU of `machine` was measured. What lies between two cards is theirs alone.
bool apply_to_gpus(const Machine& measured, Machine& machine) {
  bool any = false;
  for (MachineDevice& device : machine.devices) {
    if (device.kind != MachineDeviceKind::kGpu) continue;
    const MachineDevice* like = measured_gpu(measured, device.name);
    if (like == nullptr) continue;
    device.bandwidth_gbps = like->bandwidth_gbps;
    device.products = like->products;
    any = true;
  }
  for (Link& link : machine.links) {
    const Link* found = measured.find_link(link.a, link.b);
    if (found == nullptr || link.kind == LinkKind::kSharedMemory) continue;
    link.bandwidth_gbps = found->bandwidth_gbps;
    link.latency_us = found->latency_us;
    link.peer_access = found->peer_access;
  }
  return any;
}

bool apply_to_processors(const Machine& measured, Machine& machine) {
  if (nearest(measured, 1) == nullptr) return false;
  bool any = false;
  machine.host.bandwidth_gbps = measured.host.bandwidth_gbps;
  for (MachineDevice& device : machine.devices) {
    if (device.kind != MachineDeviceKind::kCpu || device.cores.empty()) continue;
    apply_to_device(measured, device);
    any = true;
  }
  apply_to_links(measured, machine);
  return any;
}

}  // namespace

Result<Calibration> parse_calibration(std::string_view text, const std::string& path) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object() || !json.contains("machine")) {
    return malformed(path, "not a calibration", "a file that `tandem bench --calibrate` wrote");
  }
  Calibration out;
  out.path = path;
  auto machine = machine_from_json(json["machine"]);
  if (!machine.ok()) return machine.error().at(path);
  out.machine = *std::move(machine);
  auto engines = parse_engine_profiles(text);
  if (!engines.ok()) return engines.error().at(path);
  if (engines->size() != 1) {
    return malformed(path, "a calibration has one engine", "1", std::to_string(engines->size()));
  }
  out.engine = std::move(engines->front());
  if (out.engine.backend("cpu").kernels.empty()) {
    return malformed(path, "a calibration of an earlier version: it knows no kernels",
                     "a file that `tandem bench --calibrate` wrote");
  }
  return out;
}

std::optional<Calibration> user_calibration() {
  const auto file = read_user_data(kVariable, kFileName);
  if (!file) return std::nullopt;
  auto calibration = parse_calibration(file->text, file->path);
  if (calibration.ok()) return *std::move(calibration);
  spdlog::warn("{}", calibration.error().to_string());
  return std::nullopt;
}

std::string calibration_path() {
  return user_data_path(kVariable, kFileName);
}

bool apply_measured_gpu_rates(const Machine& measured, Machine& machine) {
  return is_same_computer(measured, machine) && apply_to_gpus(measured, machine);
}

bool apply_measured_rates(const Machine& measured, Machine& machine) {
  if (!is_same_computer(measured, machine)) return false;
  const bool processors = apply_to_processors(measured, machine);
  const bool gpus = apply_to_gpus(measured, machine);
  return processors || gpus;
}

}  // namespace tandem
