#pragma once

#include "device/cuda/matmul/product_batch.h"

namespace tandem::cuda {

// Products with F32 weights (rows as in the file) and activations as they are: routers, whose
// choices hang on the last bits, and test models. As ProductKernels, with tiles of 8 rows of x;
// `group` is 16 rows, group_bytes that of 16 rows of the file, and x is not rounded.
// batch.num_chunks is not used.
cudaError_t float_product(cudaStream_t stream, const ProductBatch& batch, MatrixView x,
                          int column_tiles);

}  // namespace tandem::cuda
