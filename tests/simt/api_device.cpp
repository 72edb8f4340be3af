#include <cstdio>
#include <cstring>

#include "simt/machine.h"

using simt::machine;
using simt::remember;

namespace simt {

void set_machine(const MachineOptions& options) {
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  if (!all.allocations.empty() || !all.streams.empty()) {
    std::fprintf(stderr, "set_machine: streams or allocations are alive\n");
    std::abort();
  }
  all.options = options;
  all.gpus.assign(static_cast<std::size_t>(options.num_gpus), {});
  all.last_failure.clear();
}

void inject_error(int device, cudaError_t error, int after) {
  const std::lock_guard lock(machine().mutex);
  Gpu& gpu = machine().gpus[static_cast<std::size_t>(device)];
  gpu.injected = error;
  gpu.injected_after = after;
}

void inject_allocation_failure(int device, int after) {
  const std::lock_guard lock(machine().mutex);
  machine().gpus[static_cast<std::size_t>(device)].failing_allocation = after;
}

void clear_errors() {
  const std::lock_guard lock(machine().mutex);
  for (Gpu& gpu : machine().gpus) {
    gpu.sticky = gpu.injected = cudaSuccess;
    gpu.injected_after = gpu.failing_allocation = -1;
  }
  machine().last_failure.clear();
}

std::string last_failure() {
  const std::lock_guard lock(machine().mutex);
  return machine().last_failure;
}

Counters counters(int device) {
  const std::lock_guard lock(machine().mutex);
  return machine().gpus[static_cast<std::size_t>(device)].counters;
}

}  // namespace simt

cudaError_t cudaGetDeviceCount(int* count) {
  *count = machine().options.num_gpus;
  return *count > 0 ? cudaSuccess : remember(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
  if (!simt::has_device(device)) return remember(cudaErrorInvalidDevice);
  simt::current_device() = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = simt::current_device();
  return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned) {
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!simt::has_device(device)) return remember(cudaErrorInvalidDevice);
  const simt::MachineOptions& options = machine().options;
  std::memset(properties, 0, sizeof(*properties));
  std::snprintf(properties->name, sizeof(properties->name), "emulated GPU");
  properties->totalGlobalMem = options.memory_bytes;
  properties->sharedMemPerBlock = 48 * 1024;
  properties->sharedMemPerBlockOptin = 227 * 1024;
  properties->sharedMemPerMultiprocessor = 228 * 1024;
  properties->regsPerBlock = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->multiProcessorCount = options.num_multiprocessors;
  properties->major = options.major;
  properties->minor = options.minor;
  properties->l2CacheSize = 1 << 20;
  properties->pciBusID = device + 1;
  properties->canMapHostMemory = 1;
  properties->unifiedAddressing = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device);
      error != cudaSuccess) {
    return error;
  }
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      break;
  }
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  const std::lock_guard lock(machine().mutex);
  const simt::Gpu& gpu = machine().gpus[static_cast<std::size_t>(simt::current_device())];
  *total_bytes = machine().options.memory_bytes;
  *free_bytes = *total_bytes - static_cast<std::size_t>(gpu.counters.live_bytes);
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return cudaDriverGetVersion(version);
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  if (!simt::has_device(device) || !simt::has_device(peer)) return remember(cudaErrorInvalidDevice);
  *can = device != peer && machine().options.peer_access ? 1 : 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  int can = 0;
  const int device = simt::current_device();
  if (const cudaError_t error = cudaDeviceCanAccessPeer(&can, device, peer); error != cudaSuccess) {
    return error;
  }
  if (can == 0) return remember(cudaErrorInvalidDevice);
  const std::lock_guard lock(machine().mutex);
  const bool added = machine().gpus[static_cast<std::size_t>(device)].peers.insert(peer).second;
  return added ? cudaSuccess : remember(cudaErrorPeerAccessAlreadyEnabled);
}

cudaError_t cudaDeviceDisablePeerAccess(int peer) {
  const std::lock_guard lock(machine().mutex);
  const auto device = static_cast<std::size_t>(simt::current_device());
  const bool removed = machine().gpus[device].peers.erase(peer) > 0;
  return removed ? cudaSuccess : remember(cudaErrorPeerAccessNotEnabled);
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = simt::last_error();
  simt::last_error() = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() {
  return simt::last_error();
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorECCUncorrectable:
      return "cudaErrorECCUncorrectable";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    default:
      return "cudaErrorUnknown";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  return cudaGetErrorName(error);
}
