#include "machine/sources/lspci.h"

#include <array>
#include <utility>

#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxDevices = 8192;
constexpr int kMaxContradictions = 3;

// Names of classes as lspci prints them without -nn (PCI Code and ID Assignment Specification).
constexpr std::array<std::pair<std::string_view, std::uint16_t>, 11> kClasses{{
    {"VGA compatible controller", 0x0300},
    {"3D controller", 0x0302},
    {"Display controller", 0x0380},
    {"PCI bridge", 0x0604},
    {"Host bridge", 0x0600},
    {"Bridge", 0x0680},
    {"Non-Volatile memory controller", 0x0108},
    {"Ethernet controller", 0x0200},
    {"Infiniband controller", 0x0207},
    {"Audio device", 0x0403},
    {"Processing accelerators", 0x1200},
}};

std::optional<std::uint16_t> vendor_named(std::string_view name) {
  if (name.starts_with("NVIDIA")) return kVendorNvidia;
  if (contains(name, "[AMD/ATI]")) return kVendorAti;
  if (name.starts_with("Advanced Micro Devices")) return kVendorAmd;
  if (name.starts_with("Intel")) return kVendorIntel;
  return std::nullopt;
}

// "... [10de:2684] (rev a1)": the last bracket with a colon of four hex digits each.
void read_ids(std::string_view line, PciDevice& device) {
  const std::size_t colon = line.rfind(':');
  if (colon == std::string_view::npos || colon < 5 || line[colon - 5] != '[') return;
  const std::string_view vendor = line.substr(colon - 4, 4);
  const std::string_view id = line.substr(colon + 1, 4);
  if (id.size() != 4 || line.substr(colon + 5, 1) != "]") return;
  if (const auto value = leading_hex(vendor)) device.vendor_id = static_cast<std::uint16_t>(*value);
  if (const auto value = leading_hex(id)) device.device_id = static_cast<std::uint16_t>(*value);
}

void read_class(std::string_view label, PciDevice& device) {
  if (const auto code = between(label, "[", "]"))
    if (const auto value = leading_hex(*code))
      device.class_code = static_cast<std::uint16_t>(*value);
  if (device.class_code) return;
  for (const auto& [name, code] : kClasses)
    if (trim(label) == name) device.class_code = code;
}

// Is another kind of device known at this address already? Then the lists are of two machines.
bool contradicts(const PciDevice& known, const PciDevice& stated) {
  const auto differ = [](auto a, auto b) { return a && b && *a != *b; };
  return differ(known.vendor_id, stated.vendor_id) || differ(known.class_code, stated.class_code);
}

// "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)"
PciDevice* read_header(std::string_view line, SurveyWriter& writer, int& contradictions) {
  const std::size_t blank = line.find(' ');
  if (blank == std::string_view::npos || blank > 16) return nullptr;
  const auto address = PciAddress::parse(line.substr(0, blank));
  const std::size_t colon = line.find(": ", blank);
  if (!address || colon == std::string_view::npos) return nullptr;
  PciDevice stated;
  read_class(line.substr(blank + 1, colon - blank - 1), stated);
  read_ids(line, stated);
  PciDevice& device = writer.pci_at(*address);
  if (!stated.vendor_id) stated.vendor_id = vendor_named(line.substr(colon + 2));
  contradictions += contradicts(device, stated) ? 1 : 0;
  read_class(line.substr(blank + 1, colon - blank - 1), device);
  read_ids(line, device);
  std::string_view name = line.substr(colon + 2);
  if (const std::size_t end = name.rfind(" (prog-if"); end != std::string_view::npos)
    name = name.substr(0, end);
  if (const std::size_t end = name.rfind(" (rev"); end != std::string_view::npos)
    name = name.substr(0, end);
  if (!device.vendor_id) device.vendor_id = vendor_named(name);
  device.name = name;
  return &device;
}

std::optional<int> generation_in(std::string_view text) {
  const auto speed = between(text, "Speed ", "GT/s");
  const auto value = speed ? leading_number(*speed) : std::nullopt;
  return value ? pcie_generation(*value) : std::nullopt;
}

std::optional<int> width_in(std::string_view text) {
  const auto width = between(text, "Width x", "");
  const auto value = width ? leading_int(*width) : std::nullopt;
  if (!value || *value <= 0 || *value > 32) return std::nullopt;  // x0: no link trained
  return static_cast<int>(*value);
}

void read_port(std::string_view line, PciDevice& device) {
  if (contains(line, "Root Port"))
    device.port = PciPort::kRootPort;
  else if (contains(line, "Upstream Port"))
    device.port = PciPort::kUpstream;
  else if (contains(line, "Downstream Port"))
    device.port = PciPort::kDownstream;
  else if (contains(line, "Endpoint"))
    device.port = PciPort::kEndpoint;
}

void read_bar(std::string_view line, PciDevice& device) {
  const auto index = leading_int(line.substr(7));
  const auto size = between(line, "[size=", "]");
  const auto bytes = size ? size_in_bytes(*size) : std::nullopt;
  if (!index || !bytes || device.bars.size() >= 8) return;
  device.bars.push_back({static_cast<int>(*index), *bytes, 0});
}

// "BAR 1: current size: 256MB, supported: 64MB 128MB 256MB ... 32GB"
void read_resizable_bar(std::string_view line, PciDevice& device) {
  const auto index = leading_int(line.substr(4));
  const auto supported = between(line, "supported: ", "");
  if (!index || !supported) return;
  for (PciBar& bar : device.bars) {
    if (bar.index != *index) continue;
    for (std::string_view word : split_words(*supported))
      bar.max_size_bytes = std::max(bar.max_size_bytes, size_in_bytes(word).value_or(0));
  }
}

struct Section {
  std::string_view capability;
};

void read_detail(std::string_view line, Section& section, PciDevice& device, SurveyWriter& writer) {
  const std::string subject = device.address.to_string();
  if (line.starts_with("Capabilities: [")) {
    section.capability = line;
    if (contains(line, "Express (v")) read_port(line, device);
  } else if (line.starts_with("LnkCap:")) {
    writer.learn(device.link.max_generation, generation_in(line), subject,
                 "highest link generation");
    writer.learn(device.link.max_width, width_in(line), subject, "widest link");
  } else if (line.starts_with("LnkSta:")) {
    writer.read(device.link.generation, generation_in(line));
    writer.read(device.link.width, width_in(line));
  } else if (line.starts_with("LnkCtl2:")) {
    if (const auto target = between(line, "Target Link Speed: ", "GT/s"))
      if (const auto speed = leading_number(*target))
        device.target_generation = pcie_generation(*speed);
  } else if (line.starts_with("NUMA node:")) {
    writer.learn(device.numa_node, leading_int(line.substr(10)), subject, "NUMA node");
  } else if (line.starts_with("Physical Slot:")) {
    device.physical_slot = trim(line.substr(14));
  } else if (line.starts_with("Bus: primary=")) {
    if (const auto bus = between(line, "secondary=", ","))
      if (const auto value = leading_hex(*bus); value && *value > 0 && *value < 256)
        device.secondary_bus = static_cast<std::uint8_t>(*value);
  } else if (line.starts_with("ACSCtl:")) {
    device.acs_redirect = contains(line, "ReqRedir+");
  } else if (line.starts_with("Region ") && contains(line, "Memory at")) {
    read_bar(line, device);
  } else if (line.starts_with("BAR ") && contains(section.capability, "Physical Resizable BAR")) {
    read_resizable_bar(line, device);
  } else if (line.starts_with("Kernel driver in use:")) {
    device.driver = trim(line.substr(21));
  } else if (line.starts_with("IOMMU group:")) {
    writer.read(device.iommu_group, leading_int(line.substr(12)));
  }
}

}  // namespace

Status read_lspci(std::string_view text, SurveyWriter& writer) {
  PciDevice* device = nullptr;
  Section section;
  std::size_t count = 0;
  bool verbose = false;
  int contradictions = 0;  // a card that was swapped may cause one
  std::vector<PciDevice*> seen;
  std::string_view last;
  for (std::string_view line : split_lines(text)) {
    if (line.empty()) continue;
    if (line.front() != ' ' && line.front() != '\t') {
      device = read_header(line, writer, contradictions);
      if (contradictions >= kMaxContradictions)
        return malformed(writer.source(), "this is another machine than the files read before",
                         "the same PCI devices", std::string(line.substr(0, 80)));
      section = {};
      if (device != nullptr) {
        seen.push_back(device);
        if (++count > kMaxDevices)
          return unsupported(writer.source(), "too many PCI devices", std::to_string(kMaxDevices));
      }
      continue;
    }
    if (device == nullptr) continue;
    const std::string_view content = trim(line);
    last = content;
    verbose = verbose || content.starts_with("Control:") || content.starts_with("Flags:") ||
              content.starts_with("Kernel driver in use:");
    read_detail(content, section, *device, writer);
  }
  if (seen.empty()) return malformed(writer.source(), "no PCI device in this list");
  // Each device's part ends with its driver; what was copied whole may lack the last line's end.
  if (verbose && !text.ends_with('\n') && !last.starts_with("Kernel "))
    writer.note_cut("it ends within " + seen.back()->address.to_string() + ", \"" +
                    std::string(clipped(last, 40)) + "\"");
  // A detailed listing names the driver of every device that has one. The last device may have
  // lost that line where a recording is cut.
  seen.pop_back();
  if (verbose)
    for (PciDevice* complete : seen)
      if (!complete->driver) complete->driver = "";
  return {};
}

void connect_by_bus(Survey& survey) {
  std::map<std::pair<std::uint32_t, std::uint8_t>, PciAddress> bridges;
  for (const auto& [address, device] : survey.pci)
    if (device.secondary_bus) bridges.try_emplace({address.domain, *device.secondary_bus}, address);
  for (auto& [address, device] : survey.pci) {
    if (device.parent) continue;
    const auto bridge = bridges.find({address.domain, address.bus});
    if (bridge != bridges.end() && bridge->second != address) device.parent = bridge->second;
  }
}

}  // namespace tandem
