#pragma once

#include "device/cuda/cuda_stream.h"

namespace tandem::cuda {

// The GPU of a device that create_cuda_device() made.
inline GpuTraits gpu_of_device(Device& device) {
  const auto stream = device.create_stream();
  return cuda_stream_of(*stream).context().gpu;
}

}  // namespace tandem::cuda
