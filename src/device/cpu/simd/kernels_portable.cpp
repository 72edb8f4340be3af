// The kernels for any x86-64.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "device/cpu/simd/kernels.h"
#include "tensor/half.h"

namespace tandem::portable {
namespace {

constexpr float kLaneIndices[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

#include "device/cpu/simd/vec_portable.inc"

#include "device/cpu/simd/math.inc"

#include "device/cpu/simd/row_kernels.inc"

#include "device/cpu/simd/attention_products.inc"

#include "device/cpu/simd/attention.inc"

}  // namespace

#include "device/cpu/simd/table.inc"

}  // namespace tandem::portable
