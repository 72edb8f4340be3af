#pragma once

#include <string>
#include <vector>

#include "app/bench/ceiling_survey.h"
#include "base/result.h"
#include "device/cpu/ceilings.h"

namespace tandem {

// How fast devices, alone and several at once, read memory while other things are measured. On a
// machine whose memory others use too, the rate of a moment ago says little of a measurement now,
// and the best rate of all (a ceiling) little of any.
class MemoryWatch {
 public:
  // Asks for the sets of `request`: each device alone, then request.sets, and keeps request.gpus.
  // kInvalidArgument for an instruction set that this processor lacks.
  static Result<MemoryWatch> open(const SurveyRequest& request);

  // Reads with every set in turn, which takes about 40 ms each; nothing else should work meanwhile.
  // Errors: GPUs that fail.
  Status look();
  // One look at what devices of cores read together, for typical_read_gbps(). `devices`: a set of
  // the request.
  std::vector<double> look_at(const std::vector<std::string>& devices) const;
  // What is typical of all looks: CeilingSurvey::typical_read_gbps.
  void report(CeilingSurvey& survey) const;

 private:
  struct Set {
    std::vector<std::string> devices;
    std::vector<int> cores;
    std::vector<std::vector<double>> looks;  // at what the cores read together
    std::vector<std::vector<double>> gpu_looks;
  };
  MemoryWatch(InstructionSet instruction_set, const CeilingOptions& options,
              std::shared_ptr<GpuProbes> gpus)
      : instruction_set_(instruction_set), options_(options), gpus_(std::move(gpus)) {}
  std::vector<double> look_at(const std::vector<int>& cores) const;

  InstructionSet instruction_set_;
  CeilingOptions options_;
  std::unique_ptr<ReadProbe> probe_;  // null where no set has cores
  std::shared_ptr<GpuProbes> gpus_;
  std::vector<Set> sets_;
};

}  // namespace tandem
