#include "comm/cuda/gpu_floats.h"

#include "device/cuda/capture_pause.h"
#include "device/cuda/cuda_error.h"

namespace tandem::cuda {

GpuFloats::~GpuFloats() {
  for (float* piece : pieces_) (void)cudaFree(piece);
}

Result<float*> GpuFloats::at_least(std::int64_t count) {
  if (!pieces_.empty() && count <= count_) return pieces_.back();
  const CapturePause pause;
  void* memory = nullptr;
  const auto bytes = static_cast<std::size_t>(count) * sizeof(float);
  TANDEM_CUDA_TRY(cudaMalloc(&memory, bytes), "no memory beside the plan's");
  pieces_.push_back(static_cast<float*>(memory));
  count_ = count;
  return pieces_.back();
}

}  // namespace tandem::cuda
