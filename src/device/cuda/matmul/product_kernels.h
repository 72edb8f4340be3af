#pragma once

#include "device/cuda/matmul/product_batch.h"

namespace tandem::cuda {

// The kernels of one type. `column_tiles`: how many tiles of rows of x there are, or with experts,
// how many there may be. Stream-ordered; the result is that of the start.
struct ProductKernels {
  using Start = cudaError_t (*)(cudaStream_t stream, const ProductBatch& batch, int column_tiles);
  Start few;   // tiles of 8 rows of x: the warps of a block share the columns of 16 rows
  Start some;  // of 32, likewise
  Start many;  // of 64: 128 rows of the weight a block, each warp by itself
  // As `few`, with gate and up as targets: gated_product.h.
  using StartGated = cudaError_t (*)(cudaStream_t stream, const ProductBatch& batch,
                                     int column_tiles, GateKind kind);
  StartGated gated;
};
inline constexpr int kFewRows = 8;
inline constexpr int kSomeRows = 32;
inline constexpr int kManyRows = 64;

// kType: any but F32 and I32. Instantiated in product_*.cu.
template <ElementType kType>
ProductKernels product_kernels_of();

ProductKernels product_kernels(ElementType type);

}  // namespace tandem::cuda
