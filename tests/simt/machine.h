#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "simt/host_waits.h"
#include "simt/runtime.h"

namespace simt {

// The state behind the runtime API; see runtime.h for what its functions mean.

struct Gpu {
  cudaError_t sticky = cudaSuccess;
  cudaError_t injected = cudaSuccess;
  int injected_after = -1;      // operations until `injected` strikes; -1: never
  int hangs_after = -1;         // operations until one does not begin; -1: never
  int failing_allocation = -1;  // allocations until one fails; -1: never
  std::set<int> peers;          // whose memory it may use
  Counters counters;
  HostCosts host;
};

struct Allocation {
  int device = 0;
  std::size_t bytes = 0;
};

struct Machine {
  std::mutex mutex;                  // of everything below
  std::condition_variable released;  // no GPU hangs any more
  MachineOptions options;
  std::vector<Gpu> gpus = std::vector<Gpu>(2);
  std::map<void*, Allocation> allocations;
  // Shared with who waits for a device's streams while their owner destroys one.
  std::map<Stream*, std::shared_ptr<Stream>> streams;
  std::string last_failure;
};

Machine& machine();
int& current_device();      // of the calling thread
cudaError_t& last_error();  // of the calling thread
cudaError_t remember(cudaError_t error);
bool has_device(int device);
// Captures that the calling thread has begun and not ended. Allocating and waiting are errors then,
// as on a GPU (cudaStreamCaptureModeThreadLocal, the only mode here).
int& captures_of_thread();
cudaStreamCaptureMode& capture_mode_of_thread();
bool capture_forbids_allocations();
void synchronize_streams_of(int device);
void count_host_wait(int device);

}  // namespace simt
