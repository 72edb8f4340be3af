#include "support/cuda_gpus.h"
#include "support/devices_here.h"

namespace tandem::test {

std::string why_nothing_runs_here() {
  return can_run_cuda(true) ? "" : "no GPU here: nothing of this was run on one";
}

bool is_slow_here() {
  return cuda_is_emulated();
}

bool runs_on_cores() {
  return false;
}

// Groups and links among GPUs ask a device for what a wrapped one does not have.
Result<std::unique_ptr<Runtime>> start_here(const ReferenceModel& model, const SplitChoice& split,
                                            const RunChoice& run) {
  RunChoice on_gpus = run;
  if (!run.wrap_device) {
    on_gpus.make_gpu_group = cuda_group_maker();
    on_gpus.make_gpu_link = cuda_link_maker();
  }
  return start_on(model, split, on_gpus, cuda_device_maker(run.arithmetic));
}

}  // namespace tandem::test
