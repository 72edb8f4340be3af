#include "device/cuda/matmul/product_kernels_of.h"

namespace tandem::cuda {

template ProductKernels product_kernels_of<ElementType::kQ4_0>();
template ProductKernels product_kernels_of<ElementType::kQ5_0>();
template ProductKernels product_kernels_of<ElementType::kQ8_0>();

}  // namespace tandem::cuda
