#include "comm/cuda/cuda_group.h"
#include "comm/cuda/cuda_link.h"
#include "support/cuda_gpus.h"

namespace tandem::test {

GpuGroupMaker cuda_group_maker(std::int64_t overlap_rows) {
  return [overlap_rows](
             std::span<Device* const> devices,
             const LocalGroupOptions& local) -> Result<std::vector<std::unique_ptr<Communicator>>> {
    CudaGroupOptions options;
    options.deadline_us = local.deadline_us;
    options.algorithm = local.algorithm;
    options.overlap_rows = overlap_rows;
    TANDEM_TRY(CudaGroup group, create_cuda_group(devices, options));
    return std::move(group.seats);
  };
}

GpuLinkMaker cuda_link_maker(bool through_host) {
  return [through_host](Device& sender, std::span<Device* const> receivers,
                        const LocalLinkOptions& options) -> Result<std::shared_ptr<StageLink>> {
    const GpuTransport transport = through_host ? GpuTransport::kHost : GpuTransport::kAuto;
    TANDEM_TRY(CudaLink link, create_cuda_link(sender, receivers, options, transport));
    return std::move(link.link);
  };
}

}  // namespace tandem::test
