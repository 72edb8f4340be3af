#include "machine/hwloc_source.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <memory>

#include "machine/text_scan.h"

namespace tandem {
namespace {

struct TopologyDeleter {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, TopologyDeleter>;

struct BitmapDeleter {
  void operator()(hwloc_bitmap_s* bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, BitmapDeleter>;

Result<Topology> load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0)
    return Error{ErrorCode::kIo, "hwloc cannot start", {}, {}, {}};
  Topology topology(raw);
  if (hwloc_topology_load(raw) != 0)
    return Error{ErrorCode::kIo, "hwloc cannot read this machine", {}, {}, {}};
  return topology;
}

// The CPUs that the scheduler lets this process use; taskset narrows them further than cgroups do.
Bitmap allowed_cpus(hwloc_topology_t topology) {
  Bitmap allowed(hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology)));
  Bitmap bound(hwloc_bitmap_alloc());
  if (hwloc_get_cpubind(topology, bound.get(), HWLOC_CPUBIND_PROCESS) == 0 &&
      hwloc_bitmap_intersects(allowed.get(), bound.get()))
    hwloc_bitmap_and(allowed.get(), allowed.get(), bound.get());
  return allowed;
}

std::vector<int> indices(hwloc_const_bitmap_t set) {
  std::vector<int> list;
  if (hwloc_bitmap_weight(set) < 0) return list;  // without end: not a set of real CPUs
  for (int cpu = hwloc_bitmap_first(set); cpu >= 0; cpu = hwloc_bitmap_next(set, cpu))
    list.push_back(cpu);
  return list;
}

std::optional<std::string> cpu_model(hwloc_topology_t topology) {
  const hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
  const hwloc_obj_t holder = package != nullptr ? package : hwloc_get_root_obj(topology);
  const char* model = hwloc_obj_get_info_by_name(holder, "CPUModel");
  if (model == nullptr) return std::nullopt;
  return std::string(trim(model));  // some firmware pads it with blanks
}

// The physical cores that hold at least one CPU of `allowed`; where hwloc knows no cores, the CPUs.
std::vector<int> core_leaders(hwloc_topology_t topology, hwloc_const_bitmap_t allowed) {
  std::vector<int> leaders;
  Bitmap usable(hwloc_bitmap_alloc());
  const int num_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
  for (int i = 0; i < num_cores; ++i) {
    const hwloc_obj_t core =
        hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, static_cast<unsigned>(i));
    hwloc_bitmap_and(usable.get(), core->cpuset, allowed);
    const int leader = hwloc_bitmap_first(usable.get());
    if (leader >= 0) leaders.push_back(leader);
  }
  if (leaders.empty()) return indices(allowed);
  std::sort(leaders.begin(), leaders.end());
  return leaders;
}

std::vector<NumaNode> numa_nodes(hwloc_topology_t topology, hwloc_const_bitmap_t allowed) {
  std::vector<NumaNode> nodes;
  Bitmap usable(hwloc_bitmap_alloc());
  const int count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
  for (int i = 0; i < count; ++i) {
    const hwloc_obj_t object =
        hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, static_cast<unsigned>(i));
    NumaNode node;
    node.index = static_cast<int>(object->os_index);
    if (object->attr->numanode.local_memory > 0)
      node.memory_bytes = static_cast<std::int64_t>(object->attr->numanode.local_memory);
    hwloc_bitmap_and(usable.get(), object->cpuset, allowed);
    node.cores = indices(usable.get());
    nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace

Result<Host> read_hwloc_host() {
  TANDEM_TRY(const Topology topology, load_topology());
  const Bitmap allowed = allowed_cpus(topology.get());
  Host host;
  host.cpu = cpu_model(topology.get());
  host.cores = static_cast<int>(core_leaders(topology.get(), allowed.get()).size());
  host.logical_cpus = hwloc_bitmap_weight(allowed.get());
  const int sockets = hwloc_get_nbobjs_by_type(topology.get(), HWLOC_OBJ_PACKAGE);
  if (sockets > 0) host.sockets = sockets;
  host.numa_nodes = numa_nodes(topology.get(), allowed.get());
  std::int64_t total_bytes = 0;
  for (const NumaNode& node : host.numa_nodes) total_bytes += node.memory_bytes.value_or(0);
  if (total_bytes > 0) host.memory_bytes = total_bytes;
  return host;
}

Result<std::vector<int>> read_hwloc_core_leaders() {
  TANDEM_TRY(const Topology topology, load_topology());
  return core_leaders(topology.get(), allowed_cpus(topology.get()).get());
}

}  // namespace tandem
