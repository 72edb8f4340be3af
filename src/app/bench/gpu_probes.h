#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/ceilings.h"
#include "device/gpu_probe.h"
#include "machine/machine.h"

namespace tandem {

// One probe for each of some GPUs (or parts of GPUs), which measures several of them at once. They
// keep memory of their GPUs until they are destroyed.
class GpuProbes {
 public:
  // For the GPUs among `devices`. Errors: those of create_gpu_probe().
  static Result<GpuProbes> open(const std::vector<MachineDevice>& devices);

  // Those of `ids` that are GPUs.
  bool has_any(const std::vector<std::string>& ids) const;
  // Ceilings of the GPUs among `ids`, all at work at the same time. Blocks for about seven times
  // options.seconds_each in each round, and a little longer the first time.
  Result<Ceilings> measure(const std::vector<std::string>& ids, const CeilingOptions& options);
  // What they read together now, 1e9 bytes a second by each read pattern.
  Result<std::vector<double>> look(const std::vector<std::string>& ids, double seconds);

 private:
  using Loop = std::function<Result<double>(GpuProbe&)>;

  std::vector<GpuProbe*> probes_of(const std::vector<std::string>& ids) const;
  // The sum of what `loop` finds on every probe at the same time.
  static Result<double> together(const std::vector<GpuProbe*>& probes, const Loop& loop);
  Result<Ceilings> measure_round(const std::vector<std::string>& ids, double seconds);

  std::map<std::string, std::unique_ptr<GpuProbe>> probes_;  // by the device's id
};

}  // namespace tandem
