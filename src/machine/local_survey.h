#pragma once

#include <filesystem>

#include "base/result.h"
#include "machine/survey.h"

namespace tandem {

// Everything that can be read of this computer without being root (more as root): hwloc, /proc,
// /sys, NVML where NVIDIA's driver is installed. Where error counters are not zero they are read
// again after a second, because only a counter that grows tells anything. Blocks up to 1.5 s.
//
// with_load: copies run on every card's link while its state is read, and every pair of cards is
// tried: grant, then a copy verified byte by byte both ways. Needs CUDA's driver; without a GPU it
// does nothing.
Result<Survey> survey_local_machine(bool with_load = false);

}  // namespace tandem
