// A library in the place of libcuda.so.1: two cards whose memory is the host's, so that the program
// can be run with --load on a machine without GPUs. TANDEM_STANDIN_FAULT picks what is wrong with
// them; the file TANDEM_STANDIN_BUSY appears when the first copy is made.

#include <cstdlib>
#include <fstream>
#include <string_view>

#include "machine/fake_cuda.h"

namespace {

using namespace tandem;

const CudaDriver& driver() {
  static const CudaDriver cuda = [] {
    const char* word = std::getenv("TANDEM_STANDIN_FAULT");
    const std::string_view fault = word == nullptr ? "" : word;
    using Fault = FakeCuda::Fault;
    fake_cuda.grants = fault != "no-access";
    fake_cuda.fault = fault == "loads-are-zero"  ? Fault::kRemoteLoadsAreZero
                      : fault == "copies-change" ? Fault::kCopiesChangeABit
                      : fault == "copies-crash"  ? Fault::kCopiesCrash
                                                 : Fault::kNone;
    return fake_cuda_driver();
  }();
  return cuda;
}

void show_busy() {
  if (const char* path = std::getenv("TANDEM_STANDIN_BUSY")) std::ofstream(path) << "busy\n";
}

}  // namespace

extern "C" {
int cuInit(unsigned flags) {
  return driver().init(flags);
}
int cuDeviceGetCount(int* count) {
  return driver().device_count(count);
}
int cuDeviceGet(int* device, int ordinal) {
  return driver().device(device, ordinal);
}
int cuDeviceGetPCIBusId(char* text, int length, int device) {
  return driver().pci_bus_id(text, length, device);
}
int cuDevicePrimaryCtxRetain(CudaDriver::Context* context, int device) {
  return driver().retain_context(context, device);
}
int cuDevicePrimaryCtxRelease_v2(int device) {
  return driver().release_context(device);
}
int cuCtxSetCurrent(CudaDriver::Context context) {
  return driver().set_context(context);
}
int cuMemAlloc_v2(CudaDriver::Pointer* pointer, std::size_t bytes) {
  return driver().allocate(pointer, bytes);
}
int cuMemFree_v2(CudaDriver::Pointer pointer) {
  return driver().free(pointer);
}
int cuMemcpyHtoD_v2(CudaDriver::Pointer to, const void* from, std::size_t bytes) {
  show_busy();
  return driver().to_device(to, from, bytes);
}
int cuMemcpyDtoH_v2(void* to, CudaDriver::Pointer from, std::size_t bytes) {
  return driver().to_host(to, from, bytes);
}
int cuDeviceCanAccessPeer(int* can, int device, int peer) {
  return driver().can_access_peer(can, device, peer);
}
int cuCtxEnablePeerAccess(CudaDriver::Context peer, unsigned flags) {
  return driver().enable_peer(peer, flags);
}
int cuCtxDisablePeerAccess(CudaDriver::Context peer) {
  return driver().disable_peer(peer);
}
int cuMemcpyPeer(CudaDriver::Pointer to, CudaDriver::Context to_context, CudaDriver::Pointer from,
                 CudaDriver::Context from_context, std::size_t bytes) {
  return driver().copy_peer(to, to_context, from, from_context, bytes);
}
int cuCtxSynchronize() {
  return driver().synchronize();
}
int cuModuleLoadData(CudaDriver::Module* module, const void* image) {
  return driver().load_module(module, image);
}
int cuModuleUnload(CudaDriver::Module module) {
  return driver().unload_module(module);
}
int cuModuleGetFunction(CudaDriver::Function* function, CudaDriver::Module module,
                        const char* name) {
  return driver().function(function, module, name);
}
int cuLaunchKernel(CudaDriver::Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   CudaDriver::Stream stream, void** parameters, void** extra) {
  return driver().launch(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes,
                         stream, parameters, extra);
}
int cuGetErrorName(int code, const char** name) {
  return driver().error_name(code, name);
}
}
