#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "machine/assemble.h"
#include "machine/findings/findings.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

// AMD's chipsets as PCIe switches (pci.ids): 300 to 800 series and X570/TRX40 ("Matisse").
constexpr std::array<std::uint16_t, 20> kAmdChipsetBridges{
    0x43b0, 0x43b1, 0x43b2, 0x43b3, 0x43b4, 0x43b7, 0x43c6, 0x43c7, 0x43d5, 0x43e9,
    0x43ea, 0x43f4, 0x43f5, 0x43f6, 0x57a3, 0x57a4, 0x57ad, 0x43bc, 0x43ba, 0x43fd};

}  // namespace

std::string number_text(double value) {
  std::array<char, 48> text{};
  const bool whole = std::abs(value - std::round(value)) < 0.05;
  std::snprintf(text.data(), text.size(), whole ? "%.0f" : "%.1f", value);
  return text.data();
}

std::string gbps_text(double gbps) {
  return number_text(gbps) + " GB/s";
}

std::string link_text(std::optional<int> generation, std::optional<int> width) {
  if (!generation && !width) return "unknown";
  const std::string first = generation ? "gen" + std::to_string(*generation) : "gen?";
  return first + " x" + (width ? std::to_string(*width) : "?");
}

bool is_virtual(const Survey& survey) {
  if (survey.host.virtualisation) return true;
  return std::any_of(survey.gpus.begin(), survey.gpus.end(), [](const GpuFacts& gpu) {
    return gpu.virtualisation && *gpu.virtualisation != "None" &&
           *gpu.virtualisation != "Host VGPU";
  });
}

bool has_nvlink_pairs(const Survey& survey) {
  return std::any_of(survey.pairs.begin(), survey.pairs.end(), [](const auto& item) {
    return item.second.topology && item.second.topology->starts_with("NV");
  });
}

const GpuFacts& gpu_at(const Survey& survey, int index) {
  return survey.gpus[static_cast<std::size_t>(index)];
}

int num_gpus(const Survey& survey) {
  return static_cast<int>(survey.gpus.size());
}

bool is_chipset_bridge(const PciDevice& device) {
  if (!device.is_bridge()) return false;
  if (device.vendor_id == kVendorAmd) {
    // "Starship/Matisse GPP Bridge" is a root port of the CPU itself.
    if (contains(device.name, "Chipset") || contains(device.name, "Matisse Switch") ||
        contains(device.name, "] Matisse PCIe GPP Bridge"))
      return true;
    return device.device_id && std::find(kAmdChipsetBridges.begin(), kAmdChipsetBridges.end(),
                                         *device.device_id) != kAmdChipsetBridges.end();
  }
  // Intel's platform controller hub has its root ports at 00:1a to 00:1d; the CPU's own are at
  // 00:01 and 00:06 or, on servers, on other buses.
  if (device.vendor_id != kVendorIntel || device.parent || device.address.bus != 0) return false;
  return device.address.device >= 0x1a && device.address.device <= 0x1d;
}

const PciDevice* chipset_above(const Survey& survey, int gpu_index) {
  const GpuFacts& gpu = gpu_at(survey, gpu_index);
  if (!gpu.address) return nullptr;
  for (const PciDevice* device : survey.chain(*gpu.address))
    if (is_chipset_bridge(*device)) return device;
  return nullptr;
}

}  // namespace tandem
