#include "machine/local_machine.h"

#include <sys/sysinfo.h>

#include <algorithm>

#include "machine/cgroup_limits.h"
#include "machine/core_list.h"
#include "machine/hwloc_source.h"
#include "machine/local_survey.h"

namespace tandem {
namespace {

// Some virtual machines tell their NUMA nodes less than they have: what the kernel has counts.
void trust_kernel_total(Host& host) {
  struct sysinfo info {};
  if (sysinfo(&info) != 0 || info.mem_unit == 0) return;
  const auto total = static_cast<std::int64_t>(info.totalram) * info.mem_unit;
  if (host.memory_bytes && total <= *host.memory_bytes) return;
  const double factor =
      host.memory_bytes ? static_cast<double>(total) / static_cast<double>(*host.memory_bytes) : 0;
  host.memory_bytes = total;
  for (NumaNode& node : host.numa_nodes)
    if (node.memory_bytes)
      node.memory_bytes =
          static_cast<std::int64_t>(static_cast<double>(*node.memory_bytes) * factor);
}

// A control group limits the sum; each node keeps its part of it.
void apply_limits(const CgroupLimits& limits, Host& host) {
  host.cpu_quota = limits.cpus;
  if (!limits.memory_bytes || !host.memory_bytes || *limits.memory_bytes >= *host.memory_bytes)
    return;
  const double part =
      static_cast<double>(*limits.memory_bytes) / static_cast<double>(*host.memory_bytes);
  host.memory_bytes = *limits.memory_bytes;
  for (NumaNode& node : host.numa_nodes)
    if (node.memory_bytes)
      node.memory_bytes = static_cast<std::int64_t>(static_cast<double>(*node.memory_bytes) * part);
}

MachineDevice cpu_device(const NumaNode& node, std::vector<int> cores, const Host& host) {
  MachineDevice device;
  device.id = "cpu:" + format_core_list(cores, '+');
  device.kind = MachineDeviceKind::kCpu;
  device.name = host.cpu.value_or("CPU");
  device.memory_bytes = node.memory_bytes;
  device.numa_node = node.index;
  device.cores = std::move(cores);
  return device;
}

// Nodes without cores (memory expanders, the memory of some GPUs) make no device.
void add_cpu_devices(const std::vector<int>& leaders, Machine& machine) {
  for (const NumaNode& node : machine.host.numa_nodes) {
    std::vector<int> cores;
    std::set_intersection(node.cores.begin(), node.cores.end(), leaders.begin(), leaders.end(),
                          std::back_inserter(cores));
    if (cores.empty()) continue;
    machine.devices.push_back(cpu_device(node, std::move(cores), machine.host));
  }
}

void add_cpu_links(Machine& machine) {
  for (std::size_t i = 0; i < machine.devices.size(); ++i) {
    for (std::size_t j = i + 1; j < machine.devices.size(); ++j) {
      Link link;
      link.a = machine.devices[i].id;
      link.b = machine.devices[j].id;
      link.kind = LinkKind::kSharedMemory;
      link.peer_access = true;
      machine.links.push_back(std::move(link));
    }
  }
}

}  // namespace

Result<Machine> detect_local_machine() {
  TANDEM_TRY(Survey survey, survey_local_machine());
  return std::move(survey.machine);
}

Result<Machine> detect_cpu_machine() {
  Machine machine;
  TANDEM_TRY(machine.host, read_hwloc_host());
  TANDEM_TRY(const std::vector<int> leaders, read_hwloc_core_leaders());
  trust_kernel_total(machine.host);
  apply_limits(read_cgroup_limits(), machine.host);
  add_cpu_devices(leaders, machine);
  add_cpu_links(machine);
  return machine;
}

}  // namespace tandem
