#include "machine/pci_device.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "machine/gpu_facts.h"

namespace tandem {
namespace {

// GT/s of the generations 1 to 6.
constexpr std::array<double, 6> kGigatransfers{2.5, 5, 8, 16, 32, 64};

bool parse_hex(std::string_view text, std::size_t max_digits, std::uint32_t& value) {
  if (text.empty() || text.size() > max_digits) return false;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return status == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string PciAddress::to_string() const {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%04x:%02x:%02x.%x", domain, bus, device, function);
  return text.data();
}

std::optional<PciAddress> PciAddress::parse(std::string_view text) {
  const std::size_t dot = text.rfind('.');
  const std::size_t colon = text.rfind(':');
  if (dot == std::string_view::npos || colon == std::string_view::npos || dot < colon)
    return std::nullopt;
  const std::size_t first = text.find(':');
  std::uint32_t domain = 0;
  std::uint32_t bus = 0;
  std::uint32_t device = 0;
  std::uint32_t function = 0;
  std::string_view bus_text = text.substr(0, colon);
  if (first != colon) {
    if (!parse_hex(text.substr(0, first), 8, domain)) return std::nullopt;
    bus_text = text.substr(first + 1, colon - first - 1);
  }
  if (!parse_hex(bus_text, 2, bus) ||
      !parse_hex(text.substr(colon + 1, dot - colon - 1), 2, device) ||
      !parse_hex(text.substr(dot + 1), 1, function) || device > 31 || function > 7)
    return std::nullopt;
  return PciAddress{domain, static_cast<std::uint8_t>(bus), static_cast<std::uint8_t>(device),
                    static_cast<std::uint8_t>(function)};
}

bool PciDevice::is_display() const {
  return class_code && (*class_code >> 8) == 0x03;
}

bool PciDevice::is_compute_gpu() const {
  if (!is_display() || address.function != 0) return false;
  if (vendor_id == kVendorNvidia) return true;
  // Integrated graphics sit on the root bus (Intel 00:02.0) or are AMD APUs, which no lane leads
  // to; a discrete card is an endpoint below a bridge.
  const bool behind_bridge = parent.has_value();
  const bool processor_graphics = name.find("Radeon Graphics") != std::string::npos ||
                                  name.find("Raphael") != std::string::npos ||
                                  name.find("Granite Ridge") != std::string::npos ||
                                  name.find("Cezanne") != std::string::npos ||
                                  name.find("Phoenix") != std::string::npos ||
                                  name.find("Renoir") != std::string::npos;
  // ES1000 and Rage XL: the video of servers' management chips.
  const bool server_video = device_id == 0x515e || device_id == 0x5969 || device_id == 0x4752;
  if (vendor_id == kVendorAti) return behind_bridge && !processor_graphics && !server_video;
  if (vendor_id == kVendorIntel) return behind_bridge;
  return false;
}

std::optional<int> pcie_generation(double gigatransfers_per_s) {
  for (std::size_t i = 0; i < kGigatransfers.size(); ++i)
    if (std::abs(kGigatransfers[i] - gigatransfers_per_s) < 0.01) return static_cast<int>(i) + 1;
  return std::nullopt;
}

double pcie_gigatransfers(int generation) {
  if (generation < 1 || generation > static_cast<int>(kGigatransfers.size())) return 0;
  return kGigatransfers[static_cast<std::size_t>(generation) - 1];
}

double pcie_gbps(int generation, int width) {
  const double coding = generation <= 2 ? 8.0 / 10 : generation <= 5 ? 128.0 / 130 : 242.0 / 256;
  return pcie_gigatransfers(generation) * coding / 8 * width;
}

std::optional<bool> GpuFacts::is_idle() const {
  if (under_load) return false;
  for (const std::string& reason : slowdowns)
    if (reason == "gpu_idle") return true;
  // Busy at this instant counts; a low performance state is idle whatever the averages say.
  if (performance_state && *performance_state >= 5) return true;
  if (utilisation_percent && *utilisation_percent >= 20) return false;
  if (performance_state && *performance_state <= 2 && utilisation_percent) return true;
  return std::nullopt;
}

}  // namespace tandem
