#pragma once

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops says; stream-ordered. The result is that of the start.
cudaError_t rms_norm(cudaStream_t stream, MatrixView x, const float* weight, float eps,
                     MatrixView out);
cudaError_t rms_norm_heads(cudaStream_t stream, MatrixView x, std::int32_t head_dim,
                           const float* weight, float eps);

}  // namespace tandem::cuda
