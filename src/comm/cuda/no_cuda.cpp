#include "comm/cuda/cuda_group.h"
#include "comm/cuda/cuda_link.h"

// Linked where the build found no nvcc.

namespace tandem {
namespace {

Error no_cuda() {
  return unsupported({}, "this build has no CUDA support",
                     "a build made where nvcc (CUDA 12 or 13) is installed");
}

}  // namespace

Result<CudaGroup> create_cuda_group(std::span<Device* const>, const CudaGroupOptions&) {
  return no_cuda();
}

Result<CudaLink> create_cuda_link(Device&, std::span<Device* const>, const LocalLinkOptions&,
                                  GpuTransport) {
  return no_cuda();
}

}  // namespace tandem
