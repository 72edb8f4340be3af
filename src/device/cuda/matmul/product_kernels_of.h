#pragma once

#include "device/cuda/matmul/gated_product.h"
#include "device/cuda/matmul/product_kernels.h"
#include "device/cuda/matmul/split_product.h"
#include "device/cuda/matmul/tile_product.h"

// Included by the sources product_*.cu alone, which instantiate it for a few types each, so that
// compilers work beside one another.

namespace tandem::cuda {

template <ElementType kType>
ProductKernels product_kernels_of() {
  return {launch_split_product<kType, kFewRows / 8>, launch_split_product<kType, kSomeRows / 8>,
          launch_tile_product<kType>, launch_gated_product<kType>};
}

}  // namespace tandem::cuda
