#pragma once

#include "base/result.h"
#include "machine/machine.h"

namespace tandem {

// CPU, cores, memory and NUMA nodes of this computer by hwloc, within the CPU set of this process.
Result<Host> read_hwloc_host();

// One logical CPU (the first that this process may use) of every physical core, ascending.
Result<std::vector<int>> read_hwloc_core_leaders();

}  // namespace tandem
