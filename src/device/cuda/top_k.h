#pragma once

#include "device/cuda/cuda_context.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops::top_k. Stream-ordered.
Status top_k(CudaContext& context, MatrixView x, std::int32_t k, float* values,
             std::int32_t* indices);

}  // namespace tandem::cuda
