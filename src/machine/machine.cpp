#include "machine/machine.h"

#include <array>
#include <utility>

namespace tandem {
namespace {

constexpr std::array<std::pair<LinkKind, std::string_view>, 7> kLinkNames{{
    {LinkKind::kUnknown, "unknown"},
    {LinkKind::kNvlink, "nvlink"},
    {LinkKind::kPcieSwitch, "pcie-switch"},
    {LinkKind::kPcieHost, "pcie-host"},
    {LinkKind::kPcieNode, "pcie-node"},
    {LinkKind::kSockets, "sockets"},
    {LinkKind::kSharedMemory, "shared-memory"},
}};

}  // namespace

std::string_view name_of(LinkKind kind) {
  for (const auto& [value, name] : kLinkNames)
    if (value == kind) return name;
  return "unknown";
}

std::string_view name_of(MachineDeviceKind kind) {
  return kind == MachineDeviceKind::kGpu ? "gpu" : "cpu";
}

std::optional<LinkKind> link_kind_named(std::string_view name) {
  for (const auto& [value, known] : kLinkNames)
    if (known == name) return value;
  return std::nullopt;
}

const MachineDevice* Machine::find_device(std::string_view id) const {
  for (const MachineDevice& device : devices)
    if (device.id == id) return &device;
  return nullptr;
}

const Link* Machine::find_link(std::string_view a, std::string_view b) const {
  for (const Link& link : links)
    if ((link.a == a && link.b == b) || (link.a == b && link.b == a)) return &link;
  return nullptr;
}

}  // namespace tandem
