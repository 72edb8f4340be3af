// The kernels for AVX2, FMA and F16C.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include <immintrin.h>

#include "device/cpu/simd/kernels.h"
#include "tensor/half.h"

// Everything below, and nothing that a header above defines, is compiled for the larger set.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace tandem::avx2 {
namespace {

constexpr float kLaneIndices[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

#include "device/cpu/simd/vec_avx2.inc"

#include "device/cpu/simd/math.inc"

#include "device/cpu/simd/row_kernels.inc"

#include "device/cpu/simd/attention_products.inc"

#include "device/cpu/simd/attention.inc"

}  // namespace

#include "device/cpu/simd/table.inc"

}  // namespace tandem::avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
