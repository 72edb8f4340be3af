#pragma once

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops says; stream-ordered. The result is that of the start.
// indices: [out.rows], device memory.
cudaError_t gather_rows(cudaStream_t stream, MatrixView x, const std::int32_t* indices,
                        MatrixView out);
// out[i] = scale * row i of `blocks`, which holds out.rows rows of a table in the file's blocks,
// row_bytes apart, in device memory.
cudaError_t expand_rows(cudaStream_t stream, ElementType type, const void* blocks,
                        std::int64_t row_bytes, float scale, MatrixView out);

}  // namespace tandem::cuda
