#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "machine/build_spec.h"
#include "machine/gpu_facts.h"
#include "machine/machine.h"
#include "machine/pci_device.h"

namespace tandem {

// What two GPUs (indices a < b) are to each other.
struct GpuPair {
  std::optional<std::string> topology;          // topo -m: "PHB", "NV12"
  std::map<std::string, std::string> peer;      // topo -p2p: operation -> "OK", "NS", "CNS"
  std::optional<bool> can_access;               // what a program was granted
  std::optional<double> measured_gbps;          // one direction, with P2P where there is P2P
  std::optional<double> measured_without_gbps;  // through host memory
  std::optional<double> measured_latency_us;
  std::optional<std::string> trial_failure;  // the step of --load that failed, and how
  bool copy_verified = false;                // --load: bytes arrived whole both ways
  bool sums_verified = false;                // --load: a reduction's sums were right on both
  std::string not_summed;                    // --load: why no reduction was tried
};

struct BoardSlot {
  std::string name;
  std::optional<int> width;  // electrical lanes, as the board's maker wrote into the firmware
  std::optional<int> generation;
  std::optional<bool> in_use;
  std::optional<PciAddress> address;
};

struct MemoryModule {
  std::string locator;
  std::int64_t size_bytes = 0;  // 0: an empty socket
  std::optional<int> configured_mts;
};

// One kind of message of the NVIDIA driver in a kernel log.
struct XidReport {
  std::optional<PciAddress> address;
  int code = 0;
  int count = 0;
  std::string line;  // the first one
};

struct HostFacts {
  Host host;
  std::optional<std::string> board;
  std::optional<std::string> host_name;  // lstopo's
  std::optional<std::string> host_hash;  // NCCL's
  std::optional<std::string> driver_version;
  std::optional<std::string> cuda_version;
  std::optional<std::string> driver_failure;         // in its own words
  std::map<std::string, std::string> driver_params;  // /proc/driver/nvidia/params
  std::optional<std::string> kernel_command_line;
  std::optional<std::string> virtualisation;  // "kvm", "container"
  std::optional<std::int64_t> memory_available_bytes;
  std::vector<int> allowed_cores;  // of this process; empty for a recording
  std::optional<bool> iommu_translates;
  std::vector<BoardSlot> slots;
  std::vector<MemoryModule> memory;
  std::vector<XidReport> xids;
  std::vector<std::string> log_faults;  // other lines of logs that name a fault
};

// A file or interface that was read, and what it told.
struct SourceNote {
  std::string name;
  std::string kind;
  std::string note;  // why nothing was taken from it, or a warning; may be empty
};

// Two sources that state one fact differently.
struct Conflict {
  std::string subject;
  std::string fact;
  std::string first;  // "file: value"
  std::string second;
};

// Two readings of a counter. Only a counter that grows between them is a fault.
struct CounterRate {
  PciAddress address;
  std::string subject;  // the device's name; may be empty
  std::string counter;
  std::int64_t before = 0;
  std::int64_t after = 0;
  double seconds = 0;  // 0: the time between the readings is not known
};

// Everything that sources said of one computer: the facts that judging needs, and the Machine
// that is assembled from them.
struct Survey {
  std::vector<GpuFacts> gpus;  // in CUDA's order (by PCI address)
  std::map<std::pair<int, int>, GpuPair> pairs;
  std::map<PciAddress, PciDevice> pci;
  HostFacts host;
  std::vector<SourceNote> sources;
  std::vector<std::string> cut_sources;  // "file: why it seems to be cut off"
  std::vector<Conflict> conflicts;
  std::map<std::string, std::string> origins;  // "subject\nfact" -> the source that stated it first
  std::vector<CounterRate> rates;
  std::optional<BuildSpec> build;
  bool is_local = false;             // read from this computer, not from a recording
  bool is_planned = false;           // described by --build alone: it need not exist
  std::string program_cuda_version;  // the toolkit this program was built with; empty: none

  Machine machine;

  GpuPair& pair(int a, int b);
  const GpuPair* find_pair(int a, int b) const;
  const PciDevice* find_pci(const PciAddress& address) const;
  // The function itself first, then every bridge above it up to the root port.
  std::vector<const PciDevice*> chain(const PciAddress& address) const;
  std::string gpu_label(int gpu_index) const;  // "cuda:0 (RTX 3090)"
  std::string gpu_id(int gpu_index) const;     // "cuda:0", "rocm:0"
};

}  // namespace tandem
