#include "machine/cuda_driver.h"

#include <dlfcn.h>

namespace tandem {
namespace {

template <typename Function>
bool look_up(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

Status CudaDriver::check(int code, const char* call) const {
  if (code == 0) return {};
  const char* name = nullptr;
  const bool named = error_name != nullptr && error_name(code, &name) == 0 && name != nullptr;
  return Error{ErrorCode::kDeviceFailed, std::string(call) + " failed", "CUDA driver",
               "CUDA_SUCCESS", named ? std::string(name) : "code " + std::to_string(code)};
}

Result<CudaDriver> load_cuda_driver() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return not_found("NVIDIA's driver is not installed", "libcuda.so.1");
  CudaDriver api;
  const bool complete = look_up(library, "cuInit", api.init) &&
                        look_up(library, "cuDeviceGetCount", api.device_count) &&
                        look_up(library, "cuDeviceGet", api.device) &&
                        look_up(library, "cuDeviceGetPCIBusId", api.pci_bus_id) &&
                        look_up(library, "cuDevicePrimaryCtxRetain", api.retain_context) &&
                        look_up(library, "cuDevicePrimaryCtxRelease_v2", api.release_context) &&
                        look_up(library, "cuCtxSetCurrent", api.set_context) &&
                        look_up(library, "cuMemAlloc_v2", api.allocate) &&
                        look_up(library, "cuMemFree_v2", api.free) &&
                        look_up(library, "cuMemcpyHtoD_v2", api.to_device) &&
                        look_up(library, "cuMemcpyDtoH_v2", api.to_host) &&
                        look_up(library, "cuDeviceCanAccessPeer", api.can_access_peer) &&
                        look_up(library, "cuCtxEnablePeerAccess", api.enable_peer) &&
                        look_up(library, "cuCtxDisablePeerAccess", api.disable_peer) &&
                        look_up(library, "cuMemcpyPeer", api.copy_peer) &&
                        look_up(library, "cuCtxSynchronize", api.synchronize) &&
                        look_up(library, "cuModuleLoadData", api.load_module) &&
                        look_up(library, "cuModuleUnload", api.unload_module) &&
                        look_up(library, "cuModuleGetFunction", api.function) &&
                        look_up(library, "cuLaunchKernel", api.launch) &&
                        look_up(library, "cuGetErrorName", api.error_name);
  if (!complete)
    return unsupported("libcuda.so.1", "this driver is too old", "driver 470 or later");
  return api;
}

}  // namespace tandem
