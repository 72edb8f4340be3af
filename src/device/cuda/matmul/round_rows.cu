#include "base/checked.h"
#include "device/cuda/matmul/rounded_x.h"
#include "device/cuda/matmul/unroll.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumnsPerBlock = 4 * kThreads;
constexpr std::uint32_t kInfinityBits = 0x7f800000u;

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

constexpr int kNormValues =
    4;  // groups of four columns a thread keeps: 16384 columns in 1024 threads
constexpr int kNormThreads = 1024;

// One block a row; the row stays in registers between the norm and the rounding.
__global__ void __launch_bounds__(kNormThreads)
    norm_and_round(MatrixView x, const float* weight, float eps, MatrixView y, RoundedX out) {
  TANDEM_DYNAMIC_SHARED(float, shared);
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  const auto threads = static_cast<std::int64_t>(blockDim.x);
  float values[kNormValues][4];
  float sum = 0.0f;
  TANDEM_UNROLL
  for (int k = 0; k < kNormValues; ++k) {
    load_four(x.data + row * x.row_stride, 4 * (k * threads + threadIdx.x), x.columns, values[k]);
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) sum = fmaf(values[k][i], values[k][i], sum);
  }
  TANDEM_UNROLL
  for (int step = 1; step < 32; step *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0.0f;
  for (int i = 0; i < static_cast<int>(blockDim.x) / 32; ++i) sum += shared[i];
  const float factor = 1.0f / sqrtf(sum / static_cast<float>(x.columns) + eps);
  TANDEM_UNROLL
  for (int k = 0; k < kNormValues; ++k) {
    const std::int64_t column = 4 * (k * threads + threadIdx.x);
    if (column - 4 * (threadIdx.x % 32) >= x.columns) continue;  // the warp has none
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (column + i >= x.columns) continue;
      values[k][i] = values[k][i] * factor * weight[column + i];
      y.data[row * y.row_stride + column + i] = values[k][i];
    }
    round_block(values[k], row, column, (x.columns + 63) / 64 * 64, out);
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

cudaError_t rms_norm_and_round(cudaStream_t stream, MatrixView x, const float* weight, float eps,
                               MatrixView out, const RoundedX& rounded) {
  if (x.rows == 0 || x.columns == 0) return cudaSuccess;
  const std::int64_t threads =
      align_up<std::int64_t>(ceil_div<std::int64_t>(x.columns, 4 * kNormValues), 32);
  return launch(stream, norm_and_round,
                LaunchShape{dim3(static_cast<unsigned>(x.rows)),
                            dim3(static_cast<unsigned>(threads < 64 ? 64 : threads)), 128},
                x, weight, eps, out, rounded);
}

}  // namespace tandem::cuda
