#include "device/cuda/matmul/product_kernels_of.h"

namespace tandem::cuda {

template ProductKernels product_kernels_of<ElementType::kIQ4_NL>();
template ProductKernels product_kernels_of<ElementType::kIQ4_XS>();
template ProductKernels product_kernels_of<ElementType::kMXFP4>();

}  // namespace tandem::cuda
