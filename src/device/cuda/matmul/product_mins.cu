#include "device/cuda/matmul/product_kernels_of.h"

namespace tandem::cuda {

template ProductKernels product_kernels_of<ElementType::kQ4_1>();
template ProductKernels product_kernels_of<ElementType::kQ5_1>();

}  // namespace tandem::cuda
