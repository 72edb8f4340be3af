#include "device/cuda/cuda_error.h"

namespace tandem::cuda {

Status status_of(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return {};
  const auto code =
      error == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kDeviceFailed;
  std::string text(what);
  text += ": ";
  text += cudaGetErrorName(error);
  const std::string_view words = cudaGetErrorString(error);
  if (words != cudaGetErrorName(error)) text.append(" (").append(words).append(")");
  return Error{code, std::move(text), {}, {}, {}};
}

}  // namespace tandem::cuda
