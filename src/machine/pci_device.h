#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/machine.h"

namespace tandem {

struct PciAddress {
  std::uint32_t domain = 0;
  std::uint8_t bus = 0;
  std::uint8_t device = 0;
  std::uint8_t function = 0;

  auto operator<=>(const PciAddress&) const = default;
  std::string to_string() const;  // "0000:01:00.0"
  // Reads "01:00.0", "0000:01:00.0" and nvidia-smi's "00000000:01:00.0", in either case.
  static std::optional<PciAddress> parse(std::string_view text);
};

enum class PciPort { kUnknown, kEndpoint, kRootPort, kUpstream, kDownstream };

struct PciBar {
  int index = 0;
  std::int64_t size_bytes = 0;
  std::int64_t max_size_bytes = 0;  // 0 where the BAR cannot be resized
};

// Counters since boot of one end of a link (the kernel's aer_dev_*).
struct AerCounts {
  std::optional<std::int64_t> correctable;
  std::optional<std::int64_t> nonfatal;
  std::optional<std::int64_t> fatal;
};

// One PCI function as lspci, /sys or hwloc shows it.
struct PciDevice {
  PciAddress address;
  std::optional<PciAddress> parent;  // the bridge above it
  PciPort port = PciPort::kUnknown;
  std::optional<std::uint16_t> vendor_id;
  std::optional<std::uint16_t> device_id;
  std::optional<std::uint16_t> class_code;  // 0x0300 display, 0x0302 3D, 0x0604 bridge
  std::string name;

  PcieLink link;                         // this end's link towards the other end
  std::optional<int> target_generation;  // what firmware or the driver asks the link to reach
  std::optional<double> link_gbps;       // where only the product of both is known (hwloc)
  std::optional<std::uint8_t> secondary_bus;
  std::optional<int> numa_node;  // -1: the firmware does not say
  std::optional<std::string> physical_slot;
  std::optional<std::string> driver;  // "" where the source says there is none
  std::optional<int> iommu_group;
  std::optional<std::string> iommu_type;  // of its group: "DMA", "DMA-FQ", "identity"
  std::optional<bool> acs_redirect;       // peer-to-peer requests are sent up to the root
  std::vector<PciBar> bars;
  std::optional<std::int64_t> vram_bytes;  // amdgpu's mem_info_vram_total
  AerCounts aer;

  bool is_bridge() const { return class_code == 0x0604; }
  bool is_display() const;  // class 03xx
  // A graphics card that could hold a model: from NVIDIA, or AMD or Intel behind a PCIe port;
  // not the video of a server's management chip, a virtual machine or the CPU itself.
  bool is_compute_gpu() const;
};

inline constexpr std::uint16_t kVendorNvidia = 0x10de;
inline constexpr std::uint16_t kVendorAti = 0x1002;
inline constexpr std::uint16_t kVendorAmd = 0x1022;
inline constexpr std::uint16_t kVendorIntel = 0x8086;

// PCIe generation of a signalling rate in GT/s: 2.5 -> 1, 5 -> 2, ... 64 -> 6; nullopt otherwise.
std::optional<int> pcie_generation(double gigatransfers_per_s);
double pcie_gigatransfers(int generation);

// Bytes a link can carry one way, in GB/s, after line coding (8b/10b up to generation 2, 128b/130b
// from 3; PCIe Base Specification 6.0, 4.2) but before packet headers, which cost another 5-15 %.
double pcie_gbps(int generation, int width);

}  // namespace tandem
