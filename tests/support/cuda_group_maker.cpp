#include "comm/cuda/cuda_group.h"
#include "support/cuda_gpus.h"

namespace tandem::test {

GpuGroupMaker cuda_group_maker() {
  return [](std::span<Device* const> devices,
            const LocalGroupOptions& local) -> Result<std::vector<std::unique_ptr<Communicator>>> {
    CudaGroupOptions options;
    options.deadline_us = local.deadline_us;
    options.algorithm = local.algorithm;
    TANDEM_TRY(CudaGroup group, create_cuda_group(devices, options));
    return std::move(group.seats);
  };
}

}  // namespace tandem::test
