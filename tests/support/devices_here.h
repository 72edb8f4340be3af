#pragma once

#include <memory>
#include <string>

#include "support/cpu_runtime.h"

namespace tandem::test {

// Where tests run whose bodies are the same for all devices: on cores (cores_here.cpp), or on
// emulated or real GPUs (gpus_here.cpp, cuda_gpus.h). Each program links one.

// Why nothing can run here; empty: it can.
std::string why_nothing_runs_here();
// Is each number the work of an emulation? Tests then take their smallest part of use.
bool is_slow_here();
bool runs_on_cores();
// start_on() with devices of this kind, which exchange as they do outside of tests; where something
// is put between ranks and GPUs (RunChoice::wrap_device), through host memory.
Result<std::unique_ptr<Runtime>> start_here(const ReferenceModel& model, const SplitChoice& split,
                                            const RunChoice& run);

}  // namespace tandem::test

// In fixtures' SetUp() and first in plain tests.
#define TANDEM_SKIP_WHERE_NOTHING_RUNS()                                           \
  if (const std::string why = tandem::test::why_nothing_runs_here(); !why.empty()) \
  GTEST_SKIP() << why
