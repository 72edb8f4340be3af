#pragma once

#include "base/result.h"
#include "machine/machine.h"

namespace tandem {

// The computer this process runs on, as far as the process may use it: the cores of its CPU set,
// the memory that its control groups grant. One CPU device per NUMA node, with one logical CPU
// per physical core ("cpu:0-15"), and every GPU that the NVIDIA driver shows ("cuda:0").
// Reads /proc, /sys and, where the driver is installed, NVML. Blocks for well under a second.
Result<Machine> detect_local_machine();

// The same without GPUs.
Result<Machine> detect_cpu_machine();

}  // namespace tandem
