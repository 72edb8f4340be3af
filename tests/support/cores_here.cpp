#include "support/devices_here.h"

namespace tandem::test {

std::string why_nothing_runs_here() {
  return {};
}

bool is_slow_here() {
  return false;
}

bool runs_on_cores() {
  return true;
}

Result<std::unique_ptr<Runtime>> start_here(const ReferenceModel& model, const SplitChoice& split,
                                            const RunChoice& run) {
  return start_on_cpu(model, split, run);
}

}  // namespace tandem::test
