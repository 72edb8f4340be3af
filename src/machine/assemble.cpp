#include "machine/assemble.h"

#include <algorithm>
#include <set>

#include "machine/core_list.h"
#include "machine/gpu_catalogue.h"
#include "machine/gpu_ids.h"
#include "machine/sources/lspci.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

GpuVendor vendor_of(const PciDevice& device) {
  if (device.vendor_id == kVendorAti) return GpuVendor::kAmd;
  if (device.vendor_id == kVendorIntel) return GpuVendor::kIntel;
  return GpuVendor::kNvidia;
}

std::string maker_of(const PciDevice& device) {
  if (device.vendor_id == kVendorAti) return "AMD ";
  return device.vendor_id == kVendorIntel ? "Intel " : "NVIDIA ";
}

// lspci without a current list of names says "Device 2330".
std::optional<std::uint16_t> device_id_of(const PciDevice& device) {
  if (device.device_id) return device.device_id;
  const auto id = between(device.name, "Device ", "");
  const auto value = id ? leading_hex(*id) : std::nullopt;
  if (!value || *value < 0 || *value > 0xFFFF) return std::nullopt;
  return static_cast<std::uint16_t>(*value);
}

// "NVIDIA Corporation AD102 [GeForce RTX 4090] [10de:2684]" -> "NVIDIA GeForce RTX 4090"; where the
// source has no name, by the ids.
std::string marketing_name(const PciDevice& device) {
  std::string_view name = device.name;
  if (const std::size_t ids = name.rfind(" [");
      ids != std::string_view::npos && name.substr(ids).size() == 12 && name[ids + 6] == ':')
    name = name.substr(0, ids);
  const std::size_t open = name.rfind('[');
  const std::size_t close = name.rfind(']');
  if (open != std::string_view::npos && close != std::string_view::npos && close > open &&
      !contains(name.substr(open), "AMD/ATI"))
    return maker_of(device) + std::string(name.substr(open + 1, close - open - 1));
  const auto id = device_id_of(device);
  if (const auto known = id ? gpu_name_by_id(device.vendor_id.value_or(0), *id) : std::nullopt)
    return maker_of(device) + *known;
  if (!name.empty()) return std::string(name);
  return maker_of(device) + "GPU";
}

bool is_gpu_function(const PciDevice& device) {
  if (device.is_compute_gpu()) return true;
  return device.vendor_id == kVendorNvidia && device.class_code == 0x1200 &&
         device.address.function == 0;
}

std::vector<const PciDevice*> pci_gpus(const Survey& survey) {
  std::vector<const PciDevice*> gpus;
  for (const auto& [address, device] : survey.pci)
    if (is_gpu_function(device)) gpus.push_back(&device);
  return gpus;
}

// The driver lists every NVIDIA GPU; PCI lists that show only others are of another machine. Some
// lists show just a part of the machine, so a mere absence proves nothing.
Status check_same_machine(const Survey& survey, const std::vector<const PciDevice*>& found) {
  std::size_t known = 0;
  std::size_t shared = 0;
  for (const GpuFacts& gpu : survey.gpus) {
    if (!gpu.address || gpu.vendor != GpuVendor::kNvidia) continue;
    ++known;
    shared += survey.find_pci(*gpu.address) != nullptr ? 1 : 0;
  }
  const PciDevice* stranger = nullptr;
  for (const PciDevice* device : found)
    if (device->vendor_id == kVendorNvidia) stranger = device;
  if (known == 0 || shared > 0 || stranger == nullptr) return {};
  return malformed("recordings", "PCI lists and the driver's report are of another machine each",
                   "the files of one machine in a folder",
                   "driver: " + survey.gpus.front().address->to_string() +
                       ", PCI: " + stranger->address.to_string());
}

bool is_gpu_driver(std::string_view driver) {
  for (std::string_view name : {"nvidia", "amdgpu", "i915", "xe"})
    if (driver == name) return true;
  return false;
}

// Bound to another driver (nouveau, vfio-pci) or to none: CUDA does not count such a card.
bool lacks_driver(const PciDevice& device) {
  return device.driver && !is_gpu_driver(*device.driver);
}

// GPUs that topology tables only numbered get the addresses that PCI sources know, in order.
void give_addresses(Survey& survey, const std::vector<const PciDevice*>& found) {
  std::vector<const PciDevice*> nvidia;
  for (const PciDevice* device : found)
    if (device->vendor_id == kVendorNvidia) nvidia.push_back(device);
  if (nvidia.size() != survey.gpus.size())
    std::erase_if(nvidia, [](const PciDevice* device) { return lacks_driver(*device); });
  const bool none_known = std::none_of(survey.gpus.begin(), survey.gpus.end(),
                                       [](const GpuFacts& gpu) { return gpu.address.has_value(); });
  if (survey.gpus.empty() || !none_known || nvidia.size() != survey.gpus.size()) return;
  for (std::size_t i = 0; i < nvidia.size(); ++i) survey.gpus[i].address = nvidia[i]->address;
}

// GPUs that only PCI knows come last, so that the driver's numbers stay; among them those without a
// driver, for the same reason.
void adopt_strangers(Survey& survey, std::vector<const PciDevice*> found) {
  std::stable_partition(found.begin(), found.end(),
                        [](const PciDevice* device) { return !lacks_driver(*device); });
  constexpr std::size_t kMaxGpus = 64;
  const bool driver_spoke =
      std::any_of(survey.gpus.begin(), survey.gpus.end(), [](const GpuFacts& gpu) {
        return gpu.has_driver == true && gpu.vendor == GpuVendor::kNvidia;
      });
  for (const PciDevice* device : found) {
    const bool known =
        std::any_of(survey.gpus.begin(), survey.gpus.end(),
                    [&](const GpuFacts& gpu) { return gpu.address == device->address; });
    const bool unplaced = std::any_of(survey.gpus.begin(), survey.gpus.end(),
                                      [](const GpuFacts& gpu) { return !gpu.address; });
    if (known || unplaced || survey.gpus.size() >= kMaxGpus) continue;
    GpuFacts gpu;
    gpu.address = device->address;
    gpu.vendor = vendor_of(*device);
    if (driver_spoke && gpu.vendor == GpuVendor::kNvidia) gpu.has_driver = false;
    survey.gpus.push_back(std::move(gpu));
  }
}

template <typename T, typename U>
void fill(std::optional<T>& slot, const std::optional<U>& value) {
  if (!slot && value) slot = static_cast<T>(*value);
}

void fill_from_pci(Survey& survey, int index) {
  GpuFacts& gpu = survey.gpus[static_cast<std::size_t>(index)];
  const PciDevice* device = gpu.address ? survey.find_pci(*gpu.address) : nullptr;
  if (device == nullptr) return;
  gpu.vendor = vendor_of(*device);
  if (!gpu.name) gpu.name = marketing_name(*device);
  fill(gpu.memory_bytes, device->vram_bytes);
  if (device->numa_node && *device->numa_node >= 0) fill(gpu.numa_node, device->numa_node);
  if (!gpu.has_driver && device->driver) gpu.has_driver = is_gpu_driver(*device->driver);
  // The largest prefetchable BAR is the window to the card's memory.
  for (const PciBar& bar : device->bars)
    if (!gpu.bar1_bytes || bar.size_bytes > *gpu.bar1_bytes) gpu.bar1_bytes = bar.size_bytes;
  const PciDevice* entry = card_entry(survey, index);
  const PciDevice* port = port_above(survey, index);
  if (gpu.link.width && entry->link.width && *gpu.link.width != *entry->link.width)
    survey.conflicts.push_back({survey.gpu_label(index), "lanes in use",
                                "driver: x" + std::to_string(*gpu.link.width),
                                "PCI: x" + std::to_string(*entry->link.width)});
  fill(gpu.link.generation, entry->link.generation);
  fill(gpu.link.width, entry->link.width);
  fill(gpu.card_generation, entry->link.max_generation);
  if (port != nullptr) fill(gpu.slot_generation, port->link.max_generation);
  const auto lower = [](std::optional<int> a, std::optional<int> b) {
    return a && b ? std::min(*a, *b) : a ? a : b;
  };
  fill(gpu.link.max_generation, lower(entry->link.max_generation,
                                      port == nullptr ? std::nullopt : port->link.max_generation));
  fill(gpu.link.max_width, entry->link.max_width);
}

MachineDevice make_gpu_device(const Survey& survey, int index) {
  const GpuFacts& gpu = survey.gpus[static_cast<std::size_t>(index)];
  MachineDevice device;
  device.id = survey.gpu_id(index);
  device.kind = MachineDeviceKind::kGpu;
  device.name = gpu.name.value_or("GPU");
  device.memory_bytes = gpu.memory_bytes;
  device.pcie = gpu.link;
  device.numa_node = gpu.numa_node;
  device.power_limit_w = gpu.power.limit_w;
  if (gpu.address) device.pci_address = gpu.address->to_string();
  if (const GpuModel* model = find_gpu_model(device.name, gpu.memory_bytes))
    device.bandwidth_gbps = model->bandwidth_gbps;
  return device;
}

// A recording's CPU devices: one per NUMA node; a local survey brings its own.
void add_cpu_devices(Survey& survey) {
  const Host& host = survey.host.host;
  for (const NumaNode& node : host.numa_nodes) {
    if (node.cores.empty()) continue;
    MachineDevice device;
    device.id = "cpu:" + format_core_list(node.cores, '+');
    device.kind = MachineDeviceKind::kCpu;
    device.name = host.cpu.value_or("CPU");
    device.memory_bytes =
        host.numa_nodes.size() == 1 && !node.memory_bytes ? host.memory_bytes : node.memory_bytes;
    device.numa_node = node.index;
    device.cores = node.cores;
    survey.machine.devices.push_back(std::move(device));
  }
}

std::optional<int> nvlink_count(const GpuPair* pair) {
  if (pair == nullptr || !pair->topology || !pair->topology->starts_with("NV")) return std::nullopt;
  const auto count = leading_int(pair->topology->substr(2));
  return count ? std::optional(static_cast<int>(*count)) : std::nullopt;
}

// Measured, else from the slower end's link; NVLink from the links' own speed.
std::optional<double> bandwidth_between(const Survey& survey, int a, int b) {
  const GpuPair* pair = survey.find_pair(a, b);
  if (pair != nullptr && pair->measured_gbps) return pair->measured_gbps;
  if (pair != nullptr && pair->can_access == false && pair->measured_without_gbps)
    return pair->measured_without_gbps;
  if (const auto links = nvlink_count(pair)) {
    const auto& states = survey.gpus[static_cast<std::size_t>(a)].nvlinks;
    if (states && !states->empty() && states->front().gbps > 0)
      return *links * states->front().gbps;
    return std::nullopt;
  }
  std::optional<double> slower;
  for (int index : {a, b}) {
    const PcieLink& link = survey.gpus[static_cast<std::size_t>(index)].link;
    const auto width = link.width ? link.width : link.max_width;
    if (!link.max_generation || !width) return std::nullopt;
    const double gbps = pcie_gbps(*link.max_generation, *width);
    slower = slower ? std::min(*slower, gbps) : gbps;
  }
  return slower;
}

void clip(std::string& text, std::size_t bytes = 200) {
  if (text.size() > bytes) text = std::string(clipped(text, bytes));
}
void clip(std::optional<std::string>& text, std::size_t bytes = 200) {
  if (text) clip(*text, bytes);
}

// A recording may hold a name of many megabytes; every rule and report would carry it along.
void clip_texts(Survey& survey) {
  for (GpuFacts& gpu : survey.gpus)
    for (auto* text : {&gpu.name, &gpu.cut_name, &gpu.architecture, &gpu.uuid, &gpu.serial,
                       &gpu.virtualisation, &gpu.fabric_state, &gpu.fabric_status})
      clip(*text);
  for (auto& [address, device] : survey.pci) {
    clip(device.name);
    clip(device.driver);
    clip(device.physical_slot);
  }
  HostFacts& host = survey.host;
  for (auto* text : {&host.host.cpu, &host.board, &host.driver_version, &host.cuda_version,
                     &host.virtualisation, &host.host_name, &host.host_hash})
    clip(*text);
  constexpr std::size_t kLine = 1000;
  clip(host.driver_failure, kLine);
  clip(host.kernel_command_line, kLine);
  for (BoardSlot& slot : host.slots) clip(slot.name);
  for (XidReport& xid : host.xids) clip(xid.line, kLine);
  for (std::string& line : host.log_faults) clip(line, kLine);
  for (Conflict& conflict : survey.conflicts)
    for (std::string* text : {&conflict.subject, &conflict.first, &conflict.second})
      clip(*text, kLine);
}

}  // namespace

const PciDevice* card_entry(const Survey& survey, int gpu_index) {
  const GpuFacts& gpu = survey.gpus[static_cast<std::size_t>(gpu_index)];
  if (!gpu.address) return nullptr;
  const auto chain = survey.chain(*gpu.address);
  if (chain.empty()) return nullptr;
  const PciDevice* entry = chain.front();
  // 1002:1478/1479 on AMD cards, 8086:4fa0..4fa4 and e2ff/e2f1 on Intel cards (pci.ids).
  for (std::size_t i = 1; i < chain.size(); ++i) {
    const bool amd = chain[i]->vendor_id == kVendorAti;
    const bool intel =
        chain[i]->vendor_id == kVendorIntel && chain[i]->device_id &&
        ((*chain[i]->device_id & 0xFFF0) == 0x4FA0 || (*chain[i]->device_id & 0xFF00) == 0xE200);
    if (!chain[i]->is_bridge() || !(amd || intel) ||
        chain[i]->vendor_id != chain.front()->vendor_id)
      break;
    entry = chain[i];
  }
  return entry;
}

const PciDevice* port_above(const Survey& survey, int gpu_index) {
  const PciDevice* entry = card_entry(survey, gpu_index);
  return entry == nullptr || !entry->parent ? nullptr : survey.find_pci(*entry->parent);
}

LinkKind link_kind_between(const Survey& survey, int a, int b) {
  const GpuPair* pair = survey.find_pair(a, b);
  if (pair != nullptr && pair->topology) {
    const std::string& name = *pair->topology;
    if (name.starts_with("NV")) return LinkKind::kNvlink;
    if (name == "PIX" || name == "PXB" || name == "PSB") return LinkKind::kPcieSwitch;
    if (name == "PHB") return LinkKind::kPcieHost;
    if (name == "NODE") return LinkKind::kPcieNode;
    if (name == "SYS") return LinkKind::kSockets;
  }
  const GpuFacts& first = survey.gpus[static_cast<std::size_t>(a)];
  const GpuFacts& second = survey.gpus[static_cast<std::size_t>(b)];
  if (!first.address || !second.address) return LinkKind::kUnknown;
  std::set<PciAddress> above;
  for (const PciDevice* device : survey.chain(*first.address))
    if (device->is_bridge()) above.insert(device->address);
  for (const PciDevice* device : survey.chain(*second.address))
    if (above.count(device->address) != 0) return LinkKind::kPcieSwitch;
  if (above.empty()) return LinkKind::kUnknown;
  if (first.numa_node && second.numa_node && *first.numa_node != *second.numa_node)
    return LinkKind::kSockets;
  const auto first_chain = survey.chain(*first.address);
  const auto second_chain = survey.chain(*second.address);
  const PciAddress first_root = first_chain.back()->address;
  const PciAddress second_root = second_chain.back()->address;
  const bool same_bridge =
      first_root.domain == second_root.domain && first_root.bus == second_root.bus;
  return same_bridge ? LinkKind::kPcieHost : LinkKind::kPcieNode;
}

std::optional<bool> peer_access_between(const Survey& survey, int a, int b) {
  const GpuPair* pair = survey.find_pair(a, b);
  if (pair != nullptr && pair->can_access) return pair->can_access;
  if (pair != nullptr && !pair->peer.empty()) {
    const auto read = pair->peer.find("read");
    return (read == pair->peer.end() ? pair->peer.begin()->second : read->second) == "OK";
  }
  if (pair != nullptr && pair->topology && pair->topology->starts_with("NV")) return true;
  // NVIDIA's driver grants GeForce cards of the 20 series and later no copies over PCIe.
  for (int index : {a, b}) {
    const GpuFacts& gpu = survey.gpus[static_cast<std::size_t>(index)];
    const GpuModel* model = find_gpu_model(gpu.name.value_or(""), gpu.memory_bytes);
    if (model != nullptr && model->peer_over_pcie == false && !model->nvlink_gbps) return false;
  }
  return std::nullopt;
}

Status assemble_machine(Survey& survey) {
  clip_texts(survey);
  connect_by_bus(survey);
  const auto found = pci_gpus(survey);
  TANDEM_TRY_STATUS(check_same_machine(survey, found));
  give_addresses(survey, found);
  adopt_strangers(survey, found);
  Machine& machine = survey.machine;
  machine.host = survey.host.host;
  // CPU devices and their links are a local survey's own; GPUs are made anew.
  std::erase_if(machine.devices,
                [](const MachineDevice& d) { return d.kind == MachineDeviceKind::kGpu; });
  std::erase_if(machine.links, [](const Link& l) { return l.kind != LinkKind::kSharedMemory; });
  const std::vector<MachineDevice> cpus = std::move(machine.devices);
  const std::vector<Link> links = std::move(machine.links);
  machine.devices.clear();
  machine.links.clear();
  const int count = static_cast<int>(survey.gpus.size());
  for (int i = 0; i < count; ++i) fill_from_pci(survey, i);
  for (GpuFacts& gpu : survey.gpus)
    if (!gpu.name) gpu.name = gpu.cut_name;
  for (int i = 0; i < count; ++i) machine.devices.push_back(make_gpu_device(survey, i));
  for (int a = 0; a < count; ++a) {
    for (int b = a + 1; b < count; ++b) {
      const GpuPair* pair = survey.find_pair(a, b);
      machine.links.push_back({survey.gpu_id(a), survey.gpu_id(b), link_kind_between(survey, a, b),
                               bandwidth_between(survey, a, b),
                               pair == nullptr ? std::nullopt : pair->measured_latency_us,
                               peer_access_between(survey, a, b)});
    }
  }
  if (cpus.empty()) add_cpu_devices(survey);
  machine.devices.insert(machine.devices.end(), cpus.begin(), cpus.end());
  machine.links.insert(machine.links.end(), links.begin(), links.end());
  return {};
}

}  // namespace tandem
