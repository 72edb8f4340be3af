#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

enum class MachineDeviceKind { kGpu, kCpu };

// What lies between two devices, the fastest first.
enum class LinkKind {
  kUnknown,
  kNvlink,
  kPcieSwitch,    // one or more PCIe switches, no host bridge (PIX, PXB)
  kPcieHost,      // through one host bridge (PHB)
  kPcieNode,      // through several host bridges of one NUMA node (NODE)
  kSockets,       // across the link between CPU sockets (SYS)
  kSharedMemory,  // two CPU devices of one host
};

// "nvlink", "pcie-switch", ...: the names used in JSON.
std::string_view name_of(LinkKind kind);
std::string_view name_of(MachineDeviceKind kind);
std::optional<LinkKind> link_kind_named(std::string_view name);

// A PCIe link as one end sees it. Generation 1 is 2.5 GT/s a lane, 5 is 32 GT/s.
// An idle link may train down to save power, so `generation` is a reading, not a property.
struct PcieLink {
  std::optional<int> generation;
  std::optional<int> width;
  std::optional<int> max_generation;
  std::optional<int> max_width;

  bool operator==(const PcieLink&) const = default;
};

// What a device computes (cores together), measured: giga-operations a second, a multiplication
// and an addition count as two. 0: no such instruction.
struct ProductRates {
  double int8_gops = 0;
  double bf16_gflops = 0;
  double float_gflops = 0;

  bool operator==(const ProductRates&) const = default;
};

// Something that can hold a shard of a model and compute.
struct MachineDevice {
  std::string id;  // as in --devices: "cuda:0", "cpu:0-3"
  MachineDeviceKind kind = MachineDeviceKind::kCpu;
  std::string name;
  std::optional<std::int64_t> memory_bytes;  // what this process may use of it at most
  std::optional<double> bandwidth_gbps;      // of its memory, gigabytes per second
  PcieLink pcie;
  std::optional<int> numa_node;
  std::optional<double> power_limit_w;
  std::optional<ProductRates> products;

  std::vector<int> cores;  // a CPU device's logical CPUs, ascending; empty for a GPU
  std::optional<std::string> pci_address;  // "0000:01:00.0"

  bool operator==(const MachineDevice&) const = default;
};

// The way between two devices, named by their ids. One entry a pair.
struct Link {
  std::string a;
  std::string b;
  LinkKind kind = LinkKind::kUnknown;
  std::optional<double> bandwidth_gbps;  // one direction, gigabytes per second
  std::optional<double> latency_us;
  std::optional<bool> peer_access;  // may one read the other's memory directly

  bool operator==(const Link&) const = default;
};

struct NumaNode {
  int index = 0;           // as the operating system numbers it
  std::vector<int> cores;  // logical CPUs, ascending
  std::optional<std::int64_t> memory_bytes;

  bool operator==(const NumaNode&) const = default;
};

struct Host {
  std::optional<std::string> cpu;  // the model name
  std::optional<int> cores;        // physical cores
  std::optional<std::int64_t> memory_bytes;
  std::vector<NumaNode> numa_nodes;  // JSON's host.numa_nodes is their number

  std::optional<int> logical_cpus;
  std::optional<int> sockets;
  std::optional<double> cpu_quota;       // CPUs' worth of time that the control group grants
  std::optional<double> bandwidth_gbps;  // that all cores together read of memory, measured

  bool operator==(const Host&) const = default;
};

// What a computer is. A plain value: doctor makes and judges it, plan reads it.
// Whatever no source stated is nullopt.
struct Machine {
  std::vector<MachineDevice> devices;
  std::vector<Link> links;
  Host host;

  const MachineDevice* find_device(std::string_view id) const;
  // The link between two devices in either order, or nullptr.
  const Link* find_link(std::string_view a, std::string_view b) const;

  bool operator==(const Machine&) const = default;
};

}  // namespace tandem
