#pragma once

#include <filesystem>

#include "base/result.h"
#include "machine/survey.h"

namespace tandem {

struct LocalSurveyOptions {
  // Copies run on every card's link while its state is read, and every pair of cards is tried:
  // grant, then a copy verified byte by byte both ways. Needs CUDA's driver; no GPU, no load.
  bool load = false;
  // Where error counters are not zero, read them again after a second: only a counter that grows
  // tells anything.
  bool watch_errors = false;
  // Look for the NVIDIA driver's messages in the kernel's log, where this process may read it.
  bool read_log = false;
};

// Everything that can be read of this computer without being root (more as root): hwloc, /proc,
// /sys, NVML where NVIDIA's driver is installed. Blocks well under a second, or as `options` say.
Result<Survey> survey_local_machine(const LocalSurveyOptions& options = {});

}  // namespace tandem
