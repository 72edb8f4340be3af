#include "comm/cuda/cuda_group.h"

namespace tandem {

// Linked where the build found no nvcc.
Result<CudaGroup> create_cuda_group(std::span<Device* const>, const CudaGroupOptions&) {
  return unsupported({}, "this build has no CUDA support",
                     "a build made where nvcc (CUDA 12 or 13) is installed");
}

}  // namespace tandem
