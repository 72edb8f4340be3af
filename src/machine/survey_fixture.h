#pragma once

#include "machine/assemble.h"
#include "machine/finding.h"
#include "machine/survey.h"

namespace tandem {

// For tests: a healthy machine to spoil. Two RTX A6000 joined by NVLink on a one-socket EPYC, each
// on its own x16 root port.
inline Survey healthy_survey() {
  Survey survey;
  survey.host.host.cpu = "AMD EPYC 7443P 24-Core Processor";
  survey.host.host.cores = 24;
  survey.host.host.memory_bytes = std::int64_t{256} << 30;
  survey.host.host.numa_nodes = {{0, {0, 1, 2, 3}, std::int64_t{256} << 30}};
  survey.host.driver_version = "570.86.15";
  survey.host.cuda_version = "12.8";
  for (int i = 0; i < 2; ++i) {
    const auto bus = static_cast<std::uint8_t>(0x41 + 0x20 * i);
    const PciAddress port{0, static_cast<std::uint8_t>(bus - 1), 1, 1};
    const PciAddress card{0, bus, 0, 0};
    PciDevice bridge;
    bridge.address = port;
    bridge.class_code = 0x0604;
    bridge.vendor_id = kVendorAmd;
    bridge.port = PciPort::kRootPort;
    bridge.link = {1, 16, 4, 16};
    bridge.target_generation = 4;
    bridge.acs_redirect = false;
    bridge.secondary_bus = bus;
    bridge.driver = "pcieport";
    PciDevice device;
    device.address = card;
    device.parent = port;
    device.class_code = 0x0300;
    device.vendor_id = kVendorNvidia;
    device.link = {1, 16, 4, 16};
    device.numa_node = 0;
    device.driver = "nvidia";
    survey.pci[port] = bridge;
    survey.pci[card] = device;
    GpuFacts gpu;
    gpu.address = card;
    gpu.name = "NVIDIA RTX A6000";
    gpu.memory_bytes = std::int64_t{48} << 30;
    gpu.memory_used_bytes = 4 << 20;
    gpu.bar1_bytes = std::int64_t{64} << 30;
    gpu.link = {1, 16, 4, 16};
    gpu.card_generation = 4;
    gpu.slot_generation = 4;
    gpu.persistence = true;
    gpu.display_active = false;
    gpu.performance_state = 8;
    gpu.utilisation_percent = 0;
    gpu.power = {22, 300, 300, 100, 300, std::nullopt};
    gpu.thermals = {35, 95, std::nullopt, std::nullopt, 30};
    gpu.numa_node = 0;
    gpu.has_driver = true;
    gpu.nvlinks = {{0, true, 14.0}, {1, true, 14.0}};
    survey.gpus.push_back(gpu);
  }
  survey.pair(0, 1).topology = "NV2";
  survey.pair(0, 1).peer["read"] = "OK";
  return survey;
}

}  // namespace tandem
