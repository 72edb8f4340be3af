#pragma once

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// to = from, of one shape, by the copy engines; either may lie in page-locked memory of the host or
// on another GPU. Stream-ordered.
cudaError_t copy_rows(cudaStream_t stream, const MatrixView& to, const MatrixView& from);

}  // namespace tandem::cuda
