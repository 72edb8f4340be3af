#include "device/cuda/matmul/product_kernels.h"

#include <string>

#include "base/check.h"

namespace tandem::cuda {

ProductKernels product_kernels(ElementType type) {
  switch (type) {
    case ElementType::kQ4_0:
      return product_kernels_of<ElementType::kQ4_0>();
    case ElementType::kQ5_0:
      return product_kernels_of<ElementType::kQ5_0>();
    case ElementType::kQ8_0:
      return product_kernels_of<ElementType::kQ8_0>();
    case ElementType::kQ4_1:
      return product_kernels_of<ElementType::kQ4_1>();
    case ElementType::kQ5_1:
      return product_kernels_of<ElementType::kQ5_1>();
    case ElementType::kQ4_K:
      return product_kernels_of<ElementType::kQ4_K>();
    case ElementType::kQ5_K:
      return product_kernels_of<ElementType::kQ5_K>();
    case ElementType::kQ2_K:
      return product_kernels_of<ElementType::kQ2_K>();
    case ElementType::kQ3_K:
      return product_kernels_of<ElementType::kQ3_K>();
    case ElementType::kQ6_K:
      return product_kernels_of<ElementType::kQ6_K>();
    case ElementType::kIQ4_NL:
      return product_kernels_of<ElementType::kIQ4_NL>();
    case ElementType::kIQ4_XS:
      return product_kernels_of<ElementType::kIQ4_XS>();
    case ElementType::kMXFP4:
      return product_kernels_of<ElementType::kMXFP4>();
    case ElementType::kF16:
      return product_kernels_of<ElementType::kF16>();
    case ElementType::kBF16:
      return product_kernels_of<ElementType::kBF16>();
    default:
      check_failed(__FILE__, __LINE__, "a type that is kept in fragments",
                   std::string(traits_of(type).name));
  }
}

}  // namespace tandem::cuda
