#include "machine/sources/lspci.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxDevices = 8192;

// A bus that is open at a column: the devices drawn to the right of it lie on it.
struct OpenBus {
  std::size_t column = 0;
  std::uint32_t domain = 0;
  std::uint8_t bus = 0;
  std::optional<PciAddress> bridge;
};

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// "dd.f" at `at`, not part of a longer word.
bool is_function(std::string_view line, std::size_t at) {
  return at + 4 <= line.size() && is_hex(line[at]) && is_hex(line[at + 1]) && line[at + 2] == '.' &&
         line[at + 3] >= '0' && line[at + 3] <= '7' &&
         (at + 4 == line.size() || line[at + 4] == ' ' || line[at + 4] == '-');
}

// "[0000:00]", "[01-13]" or "[05]" at `at`; the root's form has a domain.
bool read_bus(std::string_view line, std::size_t at, std::optional<PciAddress> bridge,
              OpenBus& open, std::size_t& end) {
  end = line.find(']', at);
  if (end == std::string_view::npos || end - at > 16) return false;
  std::string_view text = line.substr(at + 1, end - at - 1);
  open = {at, bridge ? bridge->domain : 0, 0, bridge};
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    const auto domain = leading_hex(text.substr(0, colon));
    if (!domain || *domain < 0 || *domain > 0xFFFFFFFF) return false;
    open.domain = static_cast<std::uint32_t>(*domain);
    text.remove_prefix(colon + 1);
  }
  const auto bus = leading_hex(text);
  if (!bus || *bus < 0 || *bus > 255) return false;
  open.bus = static_cast<std::uint8_t>(*bus);
  ++end;
  return true;
}

bool names_a_gpu(std::string_view name) {
  if (!name.starts_with("NVIDIA")) return false;
  for (std::string_view other :
       {"Audio", "USB", "UCSI", "Bridge", "Switch", "nForce", "Ethernet", "Memory"})
    if (contains_ignoring_case(name, other)) return false;
  return true;
}

// After a function's two digits: "  Name", or the bus below it, or the end of the line.
void read_name(std::string_view rest, PciDevice& device) {
  if (!rest.starts_with("  ")) return;
  const std::string_view name = trim(rest);
  if (device.name.empty()) device.name = name;
  if (name.starts_with("NVIDIA")) device.vendor_id = kVendorNvidia;
  if (!device.class_code && device.address.function == 0 && names_a_gpu(name))
    device.class_code = 0x0300;
}

void read_line(std::string_view line, std::vector<OpenBus>& open, SurveyWriter& writer) {
  std::optional<PciAddress> last;
  bool first = true;
  for (std::size_t at = 0; at < line.size();) {
    const char c = line[at];
    if (c == '[') {
      OpenBus bus;
      std::size_t end = 0;
      if (!read_bus(line, at, last, bus, end)) return;
      if (!last) open.clear();
      while (!open.empty() && open.back().column >= at) open.pop_back();
      if (last) {
        PciDevice& bridge = writer.pci_at(*last);
        bridge.secondary_bus = bus.bus;
        bridge.class_code = 0x0604;
      }
      open.push_back(bus);
      at = end;
    } else if (is_function(line, at)) {
      if (first)
        while (!open.empty() && open.back().column >= at) open.pop_back();
      first = false;
      if (open.empty()) return;
      const OpenBus& bus = open.back();
      const auto device_number = leading_hex(line.substr(at, 2));
      const PciAddress address{bus.domain, bus.bus, static_cast<std::uint8_t>(*device_number & 31),
                               static_cast<std::uint8_t>(line[at + 3] - '0')};
      PciDevice& device = writer.pci_at(address);
      if (bus.bridge && !device.parent) device.parent = bus.bridge;
      if (!bus.bridge && device.port == PciPort::kUnknown && line.substr(at + 4, 2) == "-[")
        device.port = PciPort::kRootPort;
      last = address;
      at += 4;
      if (line.substr(at).starts_with("  ")) {
        read_name(line.substr(at), device);
        return;
      }
    } else if (c == ' ' || c == '|' || c == '-' || c == '+' || c == '\\') {
      ++at;
    } else {
      return;
    }
  }
}

}  // namespace

Status read_lspci_tree(std::string_view text, SurveyWriter& writer) {
  std::vector<OpenBus> open;
  const std::size_t before = writer.survey().pci.size();
  bool any = false;
  for (std::string_view line : split_lines(text)) {
    if (line.size() > 4096) continue;
    any = any || contains(line, "-[");
    read_line(line, open, writer);
    if (writer.survey().pci.size() > before + kMaxDevices)
      return unsupported(writer.source(), "too many PCI devices", std::to_string(kMaxDevices));
  }
  if (!any || writer.survey().pci.empty())
    return malformed(writer.source(), "no PCI device in this tree");
  return {};
}

}  // namespace tandem
