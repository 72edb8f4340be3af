#include "base/checked.h"
#include "device/cuda/matmul/round_block.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumnsPerBlock = 4 * kThreads;

// Grid: [rows, columns / 1024].
__global__ void __launch_bounds__(kThreads) round_to_int8(MatrixView x, RoundedX out) {
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  const std::int64_t column =
      static_cast<std::int64_t>(blockIdx.y) * kColumnsPerBlock + 4 * threadIdx.x;
  float values[4];
  load_four(x.data + row * x.row_stride, column, x.columns, values);
  round_block(values, row, column, (x.columns + 63) / 64 * 64, out);
}

// A maximum over the block's threads. `shared`: kThreads / 32 numbers.
__device__ __forceinline__ std::uint32_t block_largest(std::uint32_t value, std::uint32_t* shared) {
  TANDEM_UNROLL
  for (int step = 1; step < 32; step *= 2) {
    value = largest_of(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[0];
  for (int i = 1; i < kThreads / 32; ++i) value = largest_of(value, shared[i]);
  return value;
}

// The power of two that brings the row's largest magnitude to [2^14, 2^15): far from float16's
// limit of 65504, and numbers down to 2^-28 of the largest keep all their bits.
__device__ __forceinline__ float f16_row_factor(std::uint32_t largest) {
  const int exponent = static_cast<int>(largest >> 23);
  if (largest >= kInfinityBits || exponent < 32) return 1.0f;
  const int up = 127 + 14 - exponent;
  return up > 126 ? 1.0f : __uint_as_float(static_cast<std::uint32_t>(127 + up) << 23);
}

// One block a row.
template <bool kBf16>
__global__ void __launch_bounds__(kThreads) round_to_halves(MatrixView x, RoundedX out) {
  TANDEM_DYNAMIC_SHARED(std::uint32_t, shared);
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  const float* from = x.data + row * x.row_stride;
  float factor = 1.0f;
  if constexpr (!kBf16) {
    std::uint32_t largest = 0;
    for (std::int64_t c = threadIdx.x; c < x.columns; c += kThreads) {
      largest = largest_of(largest, magnitude_bits(from[c]));
    }
    factor = f16_row_factor(block_largest(largest, shared));
  }
  if (threadIdx.x == 0) out.scales[row] = 1.0f / factor;
  // Two columns a word; see fragment_layout.h.
  const std::int64_t pairs = (x.columns + 31) / 32 * 16;
  for (std::int64_t pair = threadIdx.x; pair < pairs; pair += kThreads) {
    const float a = 2 * pair < x.columns ? from[2 * pair] * factor : 0.0f;
    const float b = 2 * pair + 1 < x.columns ? from[2 * pair + 1] * factor : 0.0f;
    std::uint32_t word;
    if constexpr (kBf16) {
      word = __bfloat16_as_ushort(__float2bfloat16(a)) |
             static_cast<std::uint32_t>(__bfloat16_as_ushort(__float2bfloat16(b))) << 16;
    } else {
      word = __half_as_ushort(__float2half(a)) |
             static_cast<std::uint32_t>(__half_as_ushort(__float2half(b))) << 16;
    }
    const int p = static_cast<int>(pair % 16);
    const int t = p % 4, r = p / 4 % 2, b16 = p / 8;
    auto* to =
        reinterpret_cast<std::uint32_t*>(out.codes + (pair / 16 * out.row_pad + row) * kChunkBytes);
    to[4 * t + 2 * b16 + r] = word;
  }
}

}  // namespace

RoundedX rounded_at(RoundedForm form, std::int64_t rows, std::int64_t columns, void* memory) {
  const std::int64_t pad = align_up(rows, kRoundedRowGranule);
  const std::int64_t chunks = ceil_div<std::int64_t>(columns, chunk_columns(form));
  RoundedX x;
  x.row_pad = static_cast<std::int32_t>(pad);
  x.codes = static_cast<std::uint8_t*>(memory);
  x.scales = reinterpret_cast<float*>(x.codes + chunks * pad * kChunkBytes);
  if (form != RoundedForm::kInt8) return x;
  x.sums = x.scales + 2 * chunks * pad;
  x.half_sums = x.sums + 2 * chunks * pad;
  return x;
}

cudaError_t round_rows(cudaStream_t stream, RoundedForm form, MatrixView x,
                       const RoundedX& rounded) {
  if (x.rows == 0 || x.columns == 0) return cudaSuccess;
  const auto rows = static_cast<unsigned>(x.rows);
  if (form == RoundedForm::kInt8) {
    const auto parts = static_cast<unsigned>(
        ceil_div<std::int64_t>(align_up<std::int64_t>(x.columns, 64), kColumnsPerBlock));
    return launch(stream, round_to_int8, LaunchShape{dim3(rows, parts), dim3(kThreads), 0}, x,
                  rounded);
  }
  if (form == RoundedForm::kF16) {
    return launch(stream, round_to_halves<false>, LaunchShape{dim3(rows), dim3(kThreads), 32}, x,
                  rounded);
  }
  return launch(stream, round_to_halves<true>, LaunchShape{dim3(rows), dim3(kThreads), 32}, x,
                rounded);
}

}  // namespace tandem::cuda
