#pragma once

#include "device/cuda/cuda_api.h"
#include "device/cuda/scratch.h"
#include "device/device.h"

namespace tandem::cuda {

// What is known of a GPU.
struct GpuTraits {
  int index = 0;
  int major = 0;  // compute capability
  int minor = 0;
  int num_multiprocessors = 0;
  int max_shared_bytes = 0;  // dynamic shared memory that a block may ask for
};

// What the ops of one stream work with. Ops enqueue on `stream` and return what can be known then.
struct CudaContext {
  cudaStream_t stream = nullptr;
  GpuTraits gpu;
  Arithmetic arithmetic = Arithmetic::kInt8;
  Scratch& scratch;
};

}  // namespace tandem::cuda
