#pragma once

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops says; stream-ordered. The result is that of the start.
cudaError_t add(cudaStream_t stream, MatrixView x, MatrixView y);
cudaError_t soft_cap(cudaStream_t stream, MatrixView x, float cap);
cudaError_t gated_activation(cudaStream_t stream, GateKind kind, MatrixView gate, MatrixView up);

}  // namespace tandem::cuda
