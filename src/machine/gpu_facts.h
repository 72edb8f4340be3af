#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "machine/pci_device.h"

namespace tandem {

enum class GpuVendor { kNvidia, kAmd, kIntel };

struct NvLinkState {
  int link = 0;
  bool active = false;
  double gbps = 0;  // one direction
};

struct GpuProcess {
  std::int64_t pid = 0;
  std::string name;
  std::optional<std::int64_t> memory_bytes;
};

struct GpuPower {
  std::optional<double> draw_w;
  std::optional<double> limit_w;
  std::optional<double> default_w;
  std::optional<double> min_w;
  std::optional<double> max_w;
  std::optional<std::string> source;  // "AC", "battery", "undersized"
};

struct GpuThermals {
  std::optional<double> temperature_c;
  std::optional<double> slowdown_c;  // clocks fall above it
  std::optional<double> headroom_c;  // newer cards: degrees left below the limit
  std::optional<double> memory_c;
  std::optional<double> fan_percent;
};

struct GpuHealth {
  std::optional<bool> ecc_enabled;
  std::optional<std::int64_t> uncorrectable_since_boot;
  std::optional<std::int64_t> uncorrectable_ever;
  std::optional<std::int64_t> retired_pages;
  std::optional<bool> repair_pending;  // row remapping or page retirement waits for a reset
  std::optional<bool> repair_failed;
  std::optional<std::string> recovery_action;  // the driver asks for e.g. "Reset"
};

// What sources say of one GPU. Whatever none stated is nullopt.
struct GpuFacts {
  GpuVendor vendor = GpuVendor::kNvidia;
  std::optional<PciAddress> address;
  std::optional<std::string> name;
  std::optional<std::string> cut_name;  // from a table that cuts names short: for want of better
  std::optional<std::string> architecture;
  std::optional<std::string> uuid;
  std::optional<std::string> serial;
  std::optional<std::int64_t> memory_bytes;
  std::optional<std::int64_t> memory_used_bytes;
  std::optional<std::int64_t> bar1_bytes;
  PcieLink link;  // max_*: what card and slot can do together, as the driver says
  std::optional<int> card_generation;  // what the card alone could do
  std::optional<int> slot_generation;  // what the port above it could do
  std::optional<std::int64_t> replays;
  std::optional<std::string> replays_at;  // when a recording was made, in its own words

  std::optional<bool> persistence;
  std::optional<bool> display_active;
  std::optional<bool> mig;
  std::optional<int> performance_state;  // 0 busy .. 8 and more idle
  std::optional<double> utilisation_percent;
  std::vector<std::string> slowdowns;               // active clocks event reasons, "hw_slowdown"
  std::map<std::string, std::int64_t> slowdown_us;  // the same, as counters since the driver loaded
  GpuPower power;
  GpuThermals thermals;
  GpuHealth health;
  std::vector<GpuProcess> processes;
  std::optional<std::string> virtualisation;  // "None", "Pass-Through", "VGPU"
  std::optional<std::string> fabric_state;    // NVSwitch fabric: "Completed", "In Progress"
  std::optional<std::string> fabric_status;
  std::vector<std::string> fabric_faults;
  std::optional<std::vector<NvLinkState>> nvlinks;  // empty: the card has none or none is active
  std::optional<int> numa_node;
  std::vector<int> local_cores;
  std::optional<bool> has_driver;
  bool under_load = false;  // doctor itself kept the link busy while its state was read

  // Doing nothing now, so that its link may have trained down; nullopt where nothing tells.
  std::optional<bool> is_idle() const;
};

}  // namespace tandem
