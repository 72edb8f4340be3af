#include "device/cuda/matmul/product_kernels_of.h"

namespace tandem::cuda {

template ProductKernels product_kernels_of<ElementType::kQ2_K>();
template ProductKernels product_kernels_of<ElementType::kQ3_K>();
template ProductKernels product_kernels_of<ElementType::kQ6_K>();

}  // namespace tandem::cuda
