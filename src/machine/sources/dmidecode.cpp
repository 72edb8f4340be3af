#include "machine/sources/host_text.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxEntries = 1024;

// "x16 PCI Express 4 x16", "PCI Express 4.0 x8", "x4 PCI Express 3 x4 SFF-8639", "M.2 Socket 3".
void read_slot_type(std::string_view type, BoardSlot& slot) {
  if (const auto rest = between(type, "PCI Express ", ""))
    if (const auto generation = leading_int(*rest);
        generation && *generation > 0 && *generation < 8)
      slot.generation = static_cast<int>(*generation);
  // The number in front is the electrical width; where it is missing, the one behind.
  std::string_view width_text = type;
  if (!type.starts_with("x")) {
    const std::size_t at = type.rfind(" x");
    if (at == std::string_view::npos) return;
    width_text = type.substr(at + 1);
  }
  if (const auto width = leading_int(width_text.substr(1)); width && *width > 0 && *width <= 16)
    slot.width = static_cast<int>(*width);
}

void read_field(std::string_view section, std::string_view name, std::string_view value,
                HostFacts& host) {
  if (section == "Base Board Information") {
    if (name == "Manufacturer" && !host.board) host.board = std::string(value);
    if (name == "Product Name" && host.board && !contains(*host.board, value))
      *host.board += " " + std::string(value);
  } else if (section == "System Slot Information" && !host.slots.empty()) {
    BoardSlot& slot = host.slots.back();
    if (name == "Designation") slot.name = value;
    if (name == "Type") read_slot_type(value, slot);
    if (name == "Current Usage" && value == "In Use") slot.in_use = true;
    if (name == "Current Usage" && value == "Available") slot.in_use = false;
    if (name == "Bus Address") slot.address = PciAddress::parse(value);
    if (name == "Slot Type" || name == "Data Bus Width") read_slot_type(value, slot);
  } else if (section == "Memory Device" && !host.memory.empty()) {
    MemoryModule& module = host.memory.back();
    if (name == "Size" && leading_int(value)) module.size_bytes = size_in_bytes(value).value_or(0);
    if (name == "Locator") module.locator = value;
    if (name == "Configured Memory Speed" || name == "Configured Clock Speed")
      if (const auto speed = leading_int(value); speed && *speed > 0 && *speed < 100000)
        module.configured_mts = static_cast<int>(*speed);
  } else if (section == "Processor Information" && name == "Version" && !host.host.cpu) {
    host.host.cpu = std::string(value);
  }
}

}  // namespace

Status read_dmidecode(std::string_view text, SurveyWriter& writer) {
  HostFacts& host = writer.survey().host;
  // A second recording of the same tables would list every module twice.
  const bool again = !host.slots.empty() || !host.memory.empty();
  std::string_view section;
  bool any = false;
  for (std::string_view line : split_lines(text)) {
    if (line.empty()) continue;
    if (line.starts_with("Handle ")) {
      section = {};
      continue;
    }
    if (line.front() != '\t' && line.front() != ' ') {
      section = trim(line);
      any = any || section.ends_with("Information") || section == "Memory Device";
      if (!again && section == "System Slot Information" && host.slots.size() < kMaxEntries)
        host.slots.emplace_back();
      if (!again && section == "Memory Device" && host.memory.size() < kMaxEntries)
        host.memory.emplace_back();
      continue;
    }
    const std::string_view content = trim(line);
    const std::size_t colon = content.find(": ");
    if (!again && colon != std::string_view::npos)
      read_field(section, content.substr(0, colon), trim(content.substr(colon + 2)), host);
  }
  if (!any) return malformed(writer.source(), "no table in this output of dmidecode");
  return {};
}

}  // namespace tandem
