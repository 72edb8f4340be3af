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
  // Asks for the sets of `request`: each device alone, then request.sets. kInvalidArgument for an
  // instruction set that this processor lacks.
  static Result<MemoryWatch> open(const SurveyRequest& request);

  // Reads with every set in turn, which takes about 40 ms each; nothing else should work meanwhile.
  void look();
  // One look at what the devices of one set read together, for typical_read_gbps(). `devices`: of
  // the request.
  std::vector<double> look_at(const std::vector<std::string>& devices) const;
  // What is typical of all looks: CeilingSurvey::typical_read_gbps.
  void report(CeilingSurvey& survey) const;

 private:
  struct Set {
    std::vector<std::string> devices;
    std::vector<int> cores;
    std::vector<std::vector<double>> looks;
  };
  MemoryWatch(InstructionSet instruction_set, const CeilingOptions& options)
      : instruction_set_(instruction_set), probe_(std::make_unique<ReadProbe>(options)) {}
  std::vector<double> look_at(const std::vector<int>& cores) const;

  InstructionSet instruction_set_;
  std::unique_ptr<ReadProbe> probe_;
  std::vector<Set> sets_;
};

}  // namespace tandem
