#pragma once

#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// While one lives, the calling thread may allocate although it captures a graph: memory that grows
// now and then (scratch) may do so in any step.
class CapturePause {
 public:
  CapturePause() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~CapturePause() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  CapturePause(const CapturePause&) = delete;
  CapturePause& operator=(const CapturePause&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace tandem::cuda
