#pragma once

#include <string_view>

#include "base/result.h"
#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// What a call of the CUDA runtime returned, with CUDA's name and words: kDeviceFailed, or what the
// GPU survives (kOutOfMemory and others). `what`: what was being done ("cannot start add").
Status status_of(cudaError_t error, std::string_view what);

}  // namespace tandem::cuda

// TANDEM_CUDA_TRY(cudaMalloc(...), "cannot allocate"): returns the error to the caller.
#define TANDEM_CUDA_TRY(call, what) TANDEM_TRY_STATUS(::tandem::cuda::status_of((call), (what)))
