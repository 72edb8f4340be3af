#include "device/cuda/matmul/product_kernels_of.h"

namespace tandem::cuda {

template ProductKernels product_kernels_of<ElementType::kQ4_K>();
template ProductKernels product_kernels_of<ElementType::kQ5_K>();

}  // namespace tandem::cuda
