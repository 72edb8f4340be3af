#include "device/cuda/cuda_error.h"

namespace tandem::cuda {
namespace {

// What a call may return without harm to the GPU: the process can go on using it. Everything else
// is taken for the GPU's failure; most of those (illegal addresses, failed launches, ECC, what the
// driver logs as an Xid) stay until the process has ended, as CUDA's reference says of each.
ErrorCode code_of(cudaError_t error) {
  // cudaErrorNoKernelImageForDevice: the GPU is not among TANDEM_CUDA_ARCHITECTURES. The emulation
  // has no such case, nor its name.
  constexpr int kNoKernelImage = 209;
  if (static_cast<int>(error) == kNoKernelImage) return ErrorCode::kUnsupported;
  switch (error) {
    case cudaErrorMemoryAllocation:
      return ErrorCode::kOutOfMemory;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
      return ErrorCode::kInternal;
    default:
      return ErrorCode::kDeviceFailed;
  }
}

}  // namespace

Status status_of(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return {};
  std::string text(what);
  text += ": ";
  text += cudaGetErrorName(error);
  const std::string_view words = cudaGetErrorString(error);
  if (words != cudaGetErrorName(error)) text.append(" (").append(words).append(")");
  return Error{code_of(error), std::move(text), {}, {}, {}};
}

}  // namespace tandem::cuda
