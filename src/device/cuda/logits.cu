#include "device/cuda/logits.h"

#include <algorithm>

#include "device/cuda/cuda_error.h"
#include "device/cuda/grid.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kPartColumns = 4096;

// One thread a change. Rounded step by step as the host does it: the compiler may fuse nothing.
__global__ void change_kernel(MatrixView x, const LogitChange* changes, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const LogitChange change = changes[i];
  float& place = row_of(x, change.row)[change.column];
  const float logit = __fadd_rn(place, change.add);
  const float scaled =
      logit <= 0.0f ? __fmul_rn(logit, change.repeat) : __fdiv_rn(logit, change.repeat);
  place = __fsub_rn(scaled, change.lower);
}

// A float of every thread of a block as one; every thread gets it.
template <typename OfWarp, typename OfTwo>
__device__ float over_block(float value, OfWarp of_warp, OfTwo of_two) {
  __shared__ float of_warps[kThreads / kWarp];
  value = of_warp(value);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = of_warps[0];
  for (int i = 1; i < kThreads / kWarp; ++i) value = of_two(value, of_warps[i]);
  __syncthreads();  // the next call writes where this one reads
  return value;
}

struct Part {
  float largest;
  float sum;  // of exp(x - largest)
};

// Grid: parts of a row, rows.
__global__ void part_kernel(MatrixView x, Part* parts) {
  const std::int64_t first = std::int64_t{blockIdx.x} * kPartColumns;
  const std::int64_t count = min(kPartColumns, x.columns - first);
  for (std::int64_t row = blockIdx.y; row < x.rows; row += gridDim.y) {
    const float* values = row_of(x, row) + first;
    float largest = -INFINITY;
    for (std::int64_t i = threadIdx.x; i < count; i += kThreads) {
      if (values[i] > largest) largest = values[i];
    }
    largest = over_block(
        largest, [](float value) { return warp_max(value); },
        [](float a, float b) { return a > b ? a : b; });
    float sum = 0.0f;
    for (std::int64_t i = threadIdx.x; i < count; i += kThreads) {
      const float value = values[i];
      if (value > -INFINITY) sum += expf(value - largest);
    }
    sum = over_block(
        sum, [](float value) { return warp_sum(value); }, [](float a, float b) { return a + b; });
    if (threadIdx.x == 0) parts[row * gridDim.x + blockIdx.x] = {largest, sum};
  }
}

// Grid: rows / kThreads. One thread adds a row's parts, of which there are a few dozen.
__global__ void merge_kernel(const Part* parts, std::int64_t num_parts, std::int64_t rows,
                             float* largest, float* sums) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= rows) return;
  const Part* mine = parts + row * num_parts;
  float highest = -INFINITY, sum = 0.0f;
  for (std::int64_t i = 0; i < num_parts; ++i) {
    if (mine[i].largest > highest) highest = mine[i].largest;
  }
  for (std::int64_t i = 0; i < num_parts; ++i) {
    if (mine[i].sum > 0.0f) sum += mine[i].sum * expf(mine[i].largest - highest);
  }
  largest[row] = highest;
  sums[row] = sum;
}

LaunchShape shape_for(std::int64_t threads) {
  return {dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads)), dim3(kThreads), 0};
}

}  // namespace

cudaError_t change_logits(cudaStream_t stream, MatrixView x, const LogitChange* changes,
                          std::int64_t count) {
  return launch(stream, change_kernel, shape_for(count), x, changes, count);
}

Status sum_exponentials(CudaContext& context, MatrixView x, float* largest, float* sums) {
  const std::int64_t num_parts = (x.columns + kPartColumns - 1) / kPartColumns;
  TANDEM_TRY(auto* parts, context.scratch.take_array<Part>(x.rows * num_parts));
  const dim3 grid(static_cast<unsigned>(num_parts),
                  static_cast<unsigned>(std::min(x.rows, kMaxGridRows)));
  TANDEM_CUDA_TRY(launch(context.stream, part_kernel, {grid, dim3(kThreads), 0}, x, parts),
                  "cannot sum exponentials");
  return status_of(launch(context.stream, merge_kernel, shape_for(x.rows), parts, num_parts, x.rows,
                          largest, sums),
                   "cannot sum exponentials");
}

}  // namespace tandem::cuda
