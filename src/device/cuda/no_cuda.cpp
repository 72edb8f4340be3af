#include "device/device.h"

namespace tandem {

// Linked where the build found no nvcc.
Result<std::unique_ptr<Device>> create_cuda_device(std::string id, const CudaDeviceOptions&) {
  return unsupported(std::move(id), "this build has no CUDA support",
                     "a build made where nvcc (CUDA 12 or 13) is installed");
}

}  // namespace tandem
