#include "device/cuda/norm.h"

#include "device/cuda/grid.h"

namespace tandem::cuda {
namespace {

// Rows of up to this many numbers are one warp's, longer ones a block's.
constexpr int kWarpColumns = 512;
constexpr int kWarpsPerBlock = 4;
constexpr int kThreads = 256;

// out = x / sqrt(mean(x^2) + eps) * weight, by the `threads` threads of which this is `thread`.
// `sum` adds up over them.
template <typename Sum>
__device__ void normalise(const float* x, float* out, const float* weight, float eps,
                          std::int64_t columns, int thread, int threads, Sum sum) {
  float squares = 0.0f;
  for (std::int64_t i = thread; i < columns; i += threads) squares += x[i] * x[i];
  const float mean = sum(squares) / static_cast<float>(columns);
  const float factor = 1.0f / sqrtf(mean + eps);
  for (std::int64_t i = thread; i < columns; i += threads) out[i] = x[i] * factor * weight[i];
}

__device__ float block_sum(float value) {
  __shared__ float partial[kThreads / kWarp];
  value = warp_sum(value);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  float total = 0.0f;
  for (int i = 0; i < kThreads / kWarp; ++i) total += partial[i];
  __syncthreads();  // the next row's sums go where these are read
  return total;
}

// Grid: one block a row.
__global__ void rms_norm_block_kernel(MatrixView x, const float* weight, float eps,
                                      MatrixView out) {
  for (std::int64_t row = blockIdx.x; row < x.rows; row += gridDim.x) {
    normalise(row_of(x, row), row_of(out, row), weight, eps, x.columns,
              static_cast<int>(threadIdx.x), kThreads,
              [](float value) { return block_sum(value); });
  }
}

// One warp a piece of `columns` numbers; a row has `pieces` of them.
__global__ void rms_norm_warp_kernel(MatrixView x, std::int32_t columns, std::int32_t pieces,
                                     const float* weight, float eps, MatrixView out) {
  const std::int64_t index = std::int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.y;
  if (index >= x.rows * pieces) return;
  const std::int64_t row = index / pieces, first = index % pieces * columns;
  normalise(row_of(x, row) + first, row_of(out, row) + first, weight, eps, columns,
            static_cast<int>(threadIdx.x), kWarp, [](float value) { return warp_sum(value); });
}

cudaError_t start_warps(cudaStream_t stream, MatrixView x, std::int32_t columns,
                        const float* weight, float eps, MatrixView out) {
  const auto pieces = static_cast<std::int32_t>(x.columns / columns);
  const auto blocks =
      static_cast<unsigned>((x.rows * pieces + kWarpsPerBlock - 1) / kWarpsPerBlock);
  return launch(stream, rms_norm_warp_kernel, {dim3(blocks), dim3(kWarp, kWarpsPerBlock), 0}, x,
                columns, pieces, weight, eps, out);
}

}  // namespace

cudaError_t rms_norm(cudaStream_t stream, MatrixView x, const float* weight, float eps,
                     MatrixView out) {
  if (x.rows == 0 || x.columns == 0) return cudaSuccess;
  if (x.columns <= kWarpColumns) {
    return start_warps(stream, x, static_cast<std::int32_t>(x.columns), weight, eps, out);
  }
  return launch(stream, rms_norm_block_kernel,
                {dim3(static_cast<unsigned>(x.rows)), dim3(kThreads), 0}, x, weight, eps, out);
}

cudaError_t rms_norm_heads(cudaStream_t stream, MatrixView x, std::int32_t head_dim,
                           const float* weight, float eps) {
  if (x.rows == 0 || x.columns == 0) return cudaSuccess;
  return start_warps(stream, x, head_dim, weight, eps, x);
}

}  // namespace tandem::cuda
