#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "simt/machine.h"
#include "simt/race_checker.h"

namespace simt {
namespace {

constexpr std::size_t kAlignment = 256;  // cudaMalloc's

}  // namespace

// The heap keeps what GPUs free: new pages for each inbox of each group of a test would cost more
// than the test.
Machine& machine() {
  static const bool keeps =
      mallopt(M_MMAP_THRESHOLD, 1 << 28) != 0 && mallopt(M_TRIM_THRESHOLD, 1 << 30) != 0;
  (void)keeps;
  static Machine instance;
  return instance;
}

int& current_device() {
  static thread_local int device = 0;
  return device;
}

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error() = error;
  return error;
}

int& captures_of_thread() {
  static thread_local int captures = 0;
  return captures;
}

cudaStreamCaptureMode& capture_mode_of_thread() {
  static thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

bool capture_forbids_allocations() {
  return captures_of_thread() > 0 && capture_mode_of_thread() != cudaStreamCaptureModeRelaxed;
}

HostCosts host_costs(int device) {
  const std::lock_guard lock(machine().mutex);
  return machine().gpus[static_cast<std::size_t>(device)].host;
}

void count_host_wait(int device) {
  const std::lock_guard lock(machine().mutex);
  if (has_device(device)) ++machine().gpus[static_cast<std::size_t>(device)].host.waits;
}

cudaError_t& last_error() {
  static thread_local cudaError_t error = cudaSuccess;
  return error;
}

bool has_device(int device) {
  return device >= 0 && device < machine().options.num_gpus;
}

bool store_is_lost(const void* address) {
  const OutsideKernel outside;
  Machine& all = machine();
  if (all.options.lost_writes.empty()) return false;  // set while no stream lives
  const std::lock_guard lock(all.mutex);
  auto next = all.allocations.upper_bound(const_cast<void*>(address));
  if (next == all.allocations.begin()) return false;
  const auto& [begin, allocation] = *std::prev(next);
  const bool inside = static_cast<const std::byte*>(address) <
                      static_cast<const std::byte*>(begin) + allocation.bytes;
  const std::pair<int, int> pair(current_device(), allocation.device);
  const auto& lost = all.options.lost_writes;
  return inside && std::find(lost.begin(), lost.end(), pair) != lost.end();
}

namespace {

// Each allocation is the heap's own, so that AddressSanitizer guards its ends; what is in it is NaN
// in every type until something is written.
cudaError_t allocate(void** memory, std::size_t bytes) {
  if (memory == nullptr) return cudaErrorInvalidValue;
  *memory = nullptr;
  if (capture_forbids_allocations()) return cudaErrorStreamCaptureUnsupported;
  Machine& all = machine();
  const int device = current_device();
  if (!has_device(device)) return cudaErrorInvalidDevice;
  const std::lock_guard lock(all.mutex);
  Gpu& gpu = all.gpus[static_cast<std::size_t>(device)];
  if (gpu.sticky != cudaSuccess) return gpu.sticky;
  if (bytes == 0) return cudaSuccess;
  if (gpu.failing_allocation >= 0 && gpu.failing_allocation-- == 0) {
    return cudaErrorMemoryAllocation;
  }
  if (static_cast<std::size_t>(gpu.counters.live_bytes) + bytes > all.options.memory_bytes) {
    return cudaErrorMemoryAllocation;
  }
  if (posix_memalign(memory, kAlignment, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  all.allocations[*memory] = {device, bytes};
  gpu.counters.live_bytes += static_cast<std::int64_t>(bytes);
  ++gpu.counters.allocations;
  return cudaSuccess;
}

cudaError_t release(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  Machine& all = machine();
  int device = 0;
  {
    const std::lock_guard lock(all.mutex);
    const auto found = all.allocations.find(memory);
    if (found == all.allocations.end()) return cudaErrorInvalidValue;
    device = found->second.device;
  }
  synchronize_streams_of(device);  // as on a GPU: nothing that was enqueued may still use it
  const std::lock_guard lock(all.mutex);
  const auto found = all.allocations.find(memory);
  all.gpus[static_cast<std::size_t>(found->second.device)].counters.live_bytes -=
      static_cast<std::int64_t>(found->second.bytes);
  all.allocations.erase(found);
  std::free(memory);
  return cudaSuccess;
}

}  // namespace
}  // namespace simt

using simt::remember;

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return remember(simt::allocate(memory, bytes));
}

cudaError_t cudaFree(void* memory) {
  return remember(simt::release(memory));
}

cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  if (simt::capture_forbids_allocations()) return remember(cudaErrorStreamCaptureUnsupported);
  if (posix_memalign(memory, 4096, bytes == 0 ? 1 : bytes) != 0) {
    return remember(cudaErrorMemoryAllocation);
  }
  const std::lock_guard lock(simt::machine().mutex);
  const auto device = static_cast<std::size_t>(simt::current_device());
  if (simt::has_device(simt::current_device())) {
    ++simt::machine().gpus[device].host.allocations;
  }
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  simt::synchronize_streams_of(simt::current_device());
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  *device = host;
  return cudaSuccess;
}

cudaError_t cudaHostRegister(void*, std::size_t, unsigned) {
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void*) {
  return cudaSuccess;
}
