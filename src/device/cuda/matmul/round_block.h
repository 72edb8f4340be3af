#pragma once

#include "device/cuda/matmul/rounded_x.h"
#include "device/cuda/matmul/unroll.h"

// Device code of everything that rounds rows to RoundedForm::kInt8.

namespace tandem::cuda {

inline constexpr std::uint32_t kInfinityBits = 0x7f800000u;

__device__ __forceinline__ std::uint32_t largest_of(std::uint32_t a, std::uint32_t b) {
  return a > b ? a : b;
}
__device__ __forceinline__ std::uint32_t magnitude_bits(float x) {
  return __float_as_uint(x) & 0x7fffffffu;
}

// Four columns from `column`; zeroes after the last.
__device__ __forceinline__ void load_four(const float* row, std::int64_t column,
                                          std::int64_t columns, float (&x)[4]) {
  const float* from = row + column;
  if (column + 4 <= columns && (reinterpret_cast<std::uintptr_t>(from) & 15) == 0) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    return;
  }
  TANDEM_UNROLL
  for (int i = 0; i < 4; ++i) x[i] = column + i < columns ? from[i] : 0.0f;
}

// Rounds the block of 32 columns that eight lanes hold, four columns each; `column` is the lane's
// first. All lanes of the warp take part.
__device__ __forceinline__ void round_block(const float (&x)[4], std::int64_t row,
                                            std::int64_t column, std::int64_t columns_end,
                                            const RoundedX& out) {
  std::uint32_t largest = 0;
  TANDEM_UNROLL
  for (int i = 0; i < 4; ++i) largest = largest_of(largest, magnitude_bits(x[i]));
  TANDEM_UNROLL
  for (int step = 1; step < 8; step *= 2) {
    largest = largest_of(largest, __shfl_xor_sync(0xffffffffu, largest, step));
  }
  // The same cases as the CPU's block_scale(): NaN for infinities, zero for what is too small.
  const float size = __uint_as_float(largest);
  const bool usable = largest < kInfinityBits && size >= 0x1p-100f;
  const float factor = usable ? 127.0f / size : 0.0f;
  const float scale =
      largest >= kInfinityBits ? __uint_as_float(0x7fc00000u) : (usable ? size / 127.0f : 0.0f);
  std::uint32_t codes = 0;
  int sum = 0;
  TANDEM_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int code = usable ? __float2int_rn(x[i] * factor) : 0;
    codes |= (static_cast<std::uint32_t>(code) & 0xffu) << (8 * i);
    sum += code;
  }
  sum += __shfl_xor_sync(0xffffffffu, sum, 1);
  sum += __shfl_xor_sync(0xffffffffu, sum, 2);
  const int other = __shfl_xor_sync(0xffffffffu, sum, 4);
  if (column >= columns_end) return;

  const int quad = static_cast<int>(column / 4 % 16);  // of the chunk
  const int t = quad % 4, half = quad / 4 % 2, block = quad / 8;
  const std::int64_t pad = out.row_pad;
  auto* to = reinterpret_cast<std::uint32_t*>(out.codes + (column / 64 * pad + row) * kChunkBytes);
  to[4 * t + 2 * block + half] = codes;
  if (t != 0) return;
  const std::int64_t at = column / 32;
  out.half_sums[(2 * at + half) * pad + row] = scale * static_cast<float>(sum);
  if (half != 0) return;
  out.scales[at * pad + row] = scale;
  out.sums[at * pad + row] = scale * static_cast<float>(sum + other);
}

}  // namespace tandem::cuda
