#include "device/cuda/norm.h"

#include "base/checked.h"
#include "device/cuda/grid.h"
#include "device/cuda/matmul/round_block.h"

namespace tandem::cuda {
namespace {

constexpr int kWarpsPerBlock = 4;
constexpr int kMostThreads = 1024;
// Groups of four columns that a thread keeps between the norm and the rounding.
constexpr int kGroups = 4;
static_assert(kMostRoundedColumns == 4 * kGroups * kMostThreads);

__device__ float sum_of_warp(float value) {
  TANDEM_UNROLL
  for (int step = 1; step < kWarp; step *= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ float add_squares(const float (&x)[4], float sum) {
  TANDEM_UNROLL
  for (int i = 0; i < 4; ++i) sum = fmaf(x[i], x[i], sum);
  return sum;
}

// The sum over the block's threads. `shared`: a number a warp, and not in use.
__device__ float block_sum(float value, float* shared) {
  value = sum_of_warp(value);
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  float total = 0.0f;
  for (int i = 0; i < static_cast<int>(blockDim.x) / kWarp; ++i) total += shared[i];
  return total;
}

__device__ float norm_factor(float squares, std::int64_t columns, float eps) {
  return 1.0f / sqrtf(squares / static_cast<float>(columns) + eps);
}

// x += residual for four columns of a row from `column` on.
__device__ void add_four(const NormArgs& args, std::int64_t row, std::int64_t column,
                         float (&x)[4]) {
  float more[4];
  load_four(row_of(args.residual, row), column, args.x.columns, more);
  TANDEM_UNROLL
  for (int i = 0; i < 4; ++i) {
    x[i] += more[i];
    if (column + i < args.x.columns) row_of(args.x, row)[column + i] = x[i];
  }
}

// One block a row, which stays in registers from its load to its rounding.
template <bool kAdd, bool kRound>
__global__ void __launch_bounds__(kMostThreads) norm_kernel(NormArgs args, RoundedX rounded) {
  TANDEM_DYNAMIC_SHARED(float, shared);
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  const auto threads = static_cast<std::int64_t>(blockDim.x);
  const std::int64_t columns = args.x.columns;
  float values[kGroups][4];
  float sum = 0.0f;
  TANDEM_UNROLL
  for (int k = 0; k < kGroups; ++k) {
    const std::int64_t column = 4 * (k * threads + threadIdx.x);
    load_four(row_of(args.x, row), column, columns, values[k]);
    if constexpr (kAdd) add_four(args, row, column, values[k]);
    sum = add_squares(values[k], sum);
  }
  const float factor = norm_factor(block_sum(sum, shared), columns, args.eps);
  TANDEM_UNROLL
  for (int k = 0; k < kGroups; ++k) {
    const std::int64_t column = 4 * (k * threads + threadIdx.x);
    if (column - 4 * (threadIdx.x % kWarp) >= columns) continue;  // the warp has none
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (column + i >= columns) continue;
      values[k][i] = values[k][i] * factor * args.weight[column + i];
      if (args.out.data != nullptr) row_of(args.out, row)[column + i] = values[k][i];
    }
    if constexpr (kRound) round_block(values[k], row, column, (columns + 63) / 64 * 64, rounded);
  }
}

// Rows that do not fit into a block's registers.
__global__ void __launch_bounds__(kMostThreads) wide_norm_kernel(NormArgs args) {
  TANDEM_DYNAMIC_SHARED(float, shared);
  const auto row = static_cast<std::int64_t>(blockIdx.x);
  float* x = row_of(args.x, row);
  float sum = 0.0f;
  for (std::int64_t i = threadIdx.x; i < args.x.columns; i += blockDim.x) {
    if (args.residual.data != nullptr) x[i] += row_of(args.residual, row)[i];
    sum = fmaf(x[i], x[i], sum);
  }
  const float factor = norm_factor(block_sum(sum, shared), args.x.columns, args.eps);
  for (std::int64_t i = threadIdx.x; i < args.x.columns; i += blockDim.x) {
    row_of(args.out, row)[i] = x[i] * factor * args.weight[i];
  }
}

// One warp a head. Adds as norm_kernel does, whose warps have 128 columns each: a head's bits are
// those of a row.
__global__ void head_norm_kernel(MatrixView x, std::int32_t head_dim, std::int32_t heads,
                                 const float* weight, float eps) {
  const std::int64_t index = std::int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.y;
  if (index >= x.rows * heads) return;
  float* head = row_of(x, index / heads) + index % heads * head_dim;
  const auto first = 4 * static_cast<std::int32_t>(threadIdx.x);
  float sum = 0.0f;
  for (std::int32_t begin = 0; begin < head_dim; begin += 4 * kWarp) {
    float four[4];
    load_four(head, begin + first, head_dim, four);
    sum += sum_of_warp(add_squares(four, 0.0f));
  }
  const float factor = norm_factor(sum, head_dim, eps);
  __syncwarp();  // lanes write columns that others have read
  for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < head_dim; i += kWarp) {
    head[i] = head[i] * factor * weight[i];
  }
}

// A group of four columns a thread, or as many as a row needs.
unsigned threads_for(std::int64_t columns) {
  const std::int64_t groups = align_up<std::int64_t>(ceil_div<std::int64_t>(columns, 4), kWarp);
  return static_cast<unsigned>(std::min<std::int64_t>(groups, kMostThreads));
}

}  // namespace

cudaError_t rms_norm_heads(cudaStream_t stream, MatrixView x, std::int32_t head_dim,
                           const float* weight, float eps) {
  if (x.rows == 0 || x.columns == 0) return cudaSuccess;
  const auto heads = static_cast<std::int32_t>(x.columns / head_dim);
  const std::int64_t blocks = ceil_div<std::int64_t>(x.rows * heads, kWarpsPerBlock);
  return launch(stream, head_norm_kernel,
                {dim3(static_cast<unsigned>(blocks)), dim3(kWarp, kWarpsPerBlock), 0}, x, head_dim,
                heads, weight, eps);
}

cudaError_t add_norm(cudaStream_t stream, const NormArgs& args, const RoundedX* rounded) {
  if (args.x.rows == 0 || args.x.columns == 0) return cudaSuccess;
  const bool adds = args.residual.rows > 0;
  const LaunchShape shape{dim3(static_cast<unsigned>(args.x.rows)),
                          dim3(threads_for(args.x.columns)), kMostThreads / kWarp * sizeof(float)};
  if (args.x.columns > kMostRoundedColumns) {
    NormArgs wide = args;
    if (!adds) wide.residual.data = nullptr;
    return rounded != nullptr ? cudaErrorInvalidValue
                              : launch(stream, wide_norm_kernel, shape, wide);
  }
  const auto kernel = rounded != nullptr
                          ? (adds ? norm_kernel<true, true> : norm_kernel<false, true>)
                          : (adds ? norm_kernel<true, false> : norm_kernel<false, false>);
  return launch(stream, kernel, shape, args, rounded != nullptr ? *rounded : RoundedX{});
}

}  // namespace tandem::cuda
