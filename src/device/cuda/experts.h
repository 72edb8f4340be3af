#pragma once

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops says; stream-ordered. The result is that of the start.
// scratch: [logits.rows, logits.columns] floats.
cudaError_t route_experts(cudaStream_t stream, const RouteArgs& args, float* scratch);
cudaError_t combine_experts(cudaStream_t stream, MatrixView y, const float* weights,
                            std::int32_t top_k, MatrixView out);

}  // namespace tandem::cuda
