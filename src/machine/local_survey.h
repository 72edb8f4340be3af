#pragma once

#include <filesystem>

#include "base/result.h"
#include "machine/survey.h"

namespace tandem {

struct LocalSurveyOptions {
  // Copies run on every card's link while its state is read, and every pair of cards is tried:
  // grant, then a copy verified byte by byte both ways. Needs CUDA's driver; no GPU, no load.
  bool load = false;
  // Read error counters twice, as only one that grows tells anything: before and after the load,
  // or, without load, a second apart where some are not zero.
  bool watch_errors = false;
  // Run nvidia-smi and, as root, dmidecode where they are installed.
  bool run_tools = false;
  // Look for the NVIDIA driver's messages in the kernel's log, where this process may read it.
  bool read_log = false;
};

// Everything that can be read of this computer without being root (more as root): hwloc, /proc,
// /sys, NVML where NVIDIA's driver is installed. Blocks well under a second, or as `options` say
// (tools up to 6 s, counters 1 s, --load by its own deadlines).
Result<Survey> survey_local_machine(const LocalSurveyOptions& options = {});

}  // namespace tandem
