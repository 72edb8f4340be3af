#include "machine/device_list.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "machine/core_list.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxDevices = 1024;

std::string quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

Error bad_entry(std::string_view entry) {
  return invalid_argument("not a device", "cpu, cpu:0-3, cpu:0-3+8-11, cuda:0, cuda:0#1 or auto",
                          quoted(entry));
}

Result<int> parse_index(std::string_view text, std::string_view entry) {
  int index = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (text.empty() || status != std::errc() || end != text.data() + text.size() || index < 0)
    return bad_entry(entry);
  return index;
}

Result<DeviceSpec> parse_entry(std::string_view entry) {
  DeviceSpec spec;
  std::string_view body = entry;
  if (const std::size_t hash = entry.find('#'); hash != std::string_view::npos) {
    TANDEM_TRY(spec.part, parse_index(entry.substr(hash + 1), entry));
    body = entry.substr(0, hash);
  }
  if (body == "auto" && !spec.part) return spec;
  if (body == "cpu") {
    spec.kind = DeviceSpec::Kind::kCpu;
  } else if (body.starts_with("cpu:")) {
    spec.kind = DeviceSpec::Kind::kCpu;
    auto cores = parse_core_list(body.substr(4), '+');
    if (!cores.ok()) return cores.error().at(quoted(entry));
    spec.cores = *std::move(cores);
  } else if (body.starts_with("cuda:")) {
    spec.kind = DeviceSpec::Kind::kCuda;
    TANDEM_TRY(spec.gpu_index, parse_index(body.substr(5), entry));
  } else {
    return bad_entry(entry);
  }
  return spec;
}

bool share_hardware(const DeviceSpec& a, const DeviceSpec& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == DeviceSpec::Kind::kCuda) return a.gpu_index == b.gpu_index;
  if (a.cores.empty() || b.cores.empty()) return true;
  return std::find_first_of(a.cores.begin(), a.cores.end(), b.cores.begin(), b.cores.end()) !=
         a.cores.end();
}

// Two entries may share a device only as numbered parts of exactly the same one.
Status check_sharing(const std::vector<DeviceSpec>& specs) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::size_t j = i + 1; j < specs.size(); ++j) {
      const DeviceSpec& a = specs[i];
      const DeviceSpec& b = specs[j];
      if (!share_hardware(a, b)) continue;
      if (a.part && b.part && a.part != b.part && a.cores == b.cores) continue;
      const bool gpu = a.kind == DeviceSpec::Kind::kCuda;
      return invalid_argument(gpu ? "a GPU is named twice" : "two devices share a core",
                              "each once, or numbered parts of the same device such as " +
                                  std::string(gpu ? "cuda:0#0,cuda:0#1" : "cpu:0-3#0,cpu:0-3#1"),
                              quoted(a.id() + "," + b.id()));
    }
  }
  return {};
}

std::vector<int> all_cores(const Machine& machine) {
  std::set<int> cores;
  for (const MachineDevice& device : machine.devices)
    cores.insert(device.cores.begin(), device.cores.end());
  return {cores.begin(), cores.end()};
}

std::vector<int> allowed_cores(const Machine& machine) {
  std::set<int> cores;
  for (const NumaNode& node : machine.host.numa_nodes)
    cores.insert(node.cores.begin(), node.cores.end());
  return {cores.begin(), cores.end()};
}

// The NUMA node that holds all of `cores`, if one does.
const NumaNode* node_of(const std::vector<int>& cores, const Machine& machine) {
  for (const NumaNode& node : machine.host.numa_nodes)
    if (std::includes(node.cores.begin(), node.cores.end(), cores.begin(), cores.end()))
      return &node;
  return nullptr;
}

Result<MachineDevice> select_cpu(const DeviceSpec& spec, const Machine& machine) {
  MachineDevice device;
  device.id = spec.id();
  device.kind = MachineDeviceKind::kCpu;
  device.name = machine.host.cpu.value_or("CPU");
  device.memory_bytes = machine.host.memory_bytes;
  device.cores = spec.cores.empty() ? all_cores(machine) : spec.cores;
  const std::vector<int> allowed = allowed_cores(machine);
  for (int core : device.cores)
    if (!std::binary_search(allowed.begin(), allowed.end(), core))
      return invalid_argument("this process has no core " + std::to_string(core),
                              "cores " + format_core_list(allowed, '+'), quoted(spec.id()));
  if (device.cores.empty()) return not_found("no CPU core is known", spec.id());
  if (const NumaNode* node = node_of(device.cores, machine)) device.numa_node = node->index;
  return device;
}

Result<MachineDevice> select_gpu(const DeviceSpec& spec, const Machine& machine) {
  const std::string whole = "cuda:" + std::to_string(spec.gpu_index);
  if (const MachineDevice* found = machine.find_device(whole)) {
    MachineDevice device = *found;
    device.id = spec.id();
    return device;
  }
  const auto gpus =
      std::count_if(machine.devices.begin(), machine.devices.end(),
                    [](const MachineDevice& d) { return d.kind == MachineDeviceKind::kGpu; });
  return invalid_argument("no such GPU", "one of " + std::to_string(gpus) + " GPUs",
                          quoted(spec.id()));
}

// Parts of one GPU divide its memory evenly; CPU devices divide the host's by their cores.
void divide_memory(const std::vector<DeviceSpec>& specs, std::vector<MachineDevice>& devices) {
  std::int64_t num_cores = 0;
  for (const MachineDevice& device : devices)
    num_cores += static_cast<std::int64_t>(device.cores.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    MachineDevice& device = devices[i];
    if (!device.memory_bytes) continue;
    if (device.kind == MachineDeviceKind::kCpu) {
      const auto own = static_cast<std::int64_t>(device.cores.size());
      device.memory_bytes = *device.memory_bytes / num_cores * own;
    } else {
      *device.memory_bytes /=
          std::count_if(specs.begin(), specs.end(),
                        [&](const DeviceSpec& other) { return share_hardware(other, specs[i]); });
    }
  }
}

}  // namespace

std::string DeviceSpec::id() const {
  std::string text = "auto";
  if (kind == Kind::kCuda) text = "cuda:" + std::to_string(gpu_index);
  if (kind == Kind::kCpu) text = cores.empty() ? "cpu" : "cpu:" + format_core_list(cores, '+');
  return part ? text + "#" + std::to_string(*part) : text;
}

std::string whole_device_id(std::string_view id) {
  return std::string(id.substr(0, id.find('#')));
}

Result<std::vector<DeviceSpec>> parse_device_list(std::string_view text) {
  std::vector<DeviceSpec> specs;
  std::string_view rest = text;
  while (true) {
    const std::size_t end = rest.find(',');
    auto spec = parse_entry(rest.substr(0, end));
    if (!spec.ok()) return spec.error().at("--devices");
    specs.push_back(*std::move(spec));
    if (specs.size() > kMaxDevices)
      return invalid_argument("too many devices", "at most " + std::to_string(kMaxDevices));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  const bool has_auto = std::any_of(specs.begin(), specs.end(), [](const DeviceSpec& spec) {
    return spec.kind == DeviceSpec::Kind::kAuto;
  });
  if (has_auto && specs.size() > 1)
    return invalid_argument("auto stands alone", "auto, or a list without it", quoted(text))
        .at("--devices");
  if (Status sharing = check_sharing(specs); !sharing.ok()) return sharing.error().at("--devices");
  return specs;
}

Result<std::vector<MachineDevice>> select_devices(const std::vector<DeviceSpec>& specs,
                                                  const Machine& machine) {
  std::vector<MachineDevice> devices;
  for (const DeviceSpec& spec : specs) {
    if (spec.kind == DeviceSpec::Kind::kAuto) {
      const bool any_gpu =
          std::any_of(machine.devices.begin(), machine.devices.end(),
                      [](const MachineDevice& d) { return d.kind == MachineDeviceKind::kGpu; });
      for (const MachineDevice& device : machine.devices)
        if (!any_gpu || device.kind == MachineDeviceKind::kGpu) devices.push_back(device);
      if (devices.empty()) return not_found("the machine has no device", "--devices auto");
      return devices;
    }
    auto device =
        spec.kind == DeviceSpec::Kind::kCpu ? select_cpu(spec, machine) : select_gpu(spec, machine);
    if (!device.ok()) return device.error().at("--devices");
    devices.push_back(*std::move(device));
  }
  divide_memory(specs, devices);
  return devices;
}

}  // namespace tandem
