#include "device/cuda/matmul/product_kernels_of.h"

namespace tandem::cuda {

template ProductKernels product_kernels_of<ElementType::kF16>();
template ProductKernels product_kernels_of<ElementType::kBF16>();

}  // namespace tandem::cuda
