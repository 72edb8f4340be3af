#include "device/device.h"
#include "device/gpu_probe.h"

namespace tandem {
namespace {

// Linked where the build found no nvcc.
Error no_cuda(const std::string& id) {
  return unsupported(id, "this build has no CUDA support",
                     "a build made where nvcc (CUDA 12 or 13) is installed");
}

}  // namespace

Result<std::unique_ptr<Device>> create_cuda_device(std::string id, const CudaDeviceOptions&) {
  return no_cuda(id);
}

Result<std::unique_ptr<GpuProbe>> create_gpu_probe(const std::string& id, int) {
  return no_cuda(id);
}

}  // namespace tandem
