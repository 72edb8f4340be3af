#include "device/cuda/matmul/float_product.h"

#include "device/cuda/matmul/product_step.h"

namespace tandem::cuda {
namespace {

constexpr int kRows = 8;  // of x
constexpr int kWarps = 8;

__device__ __forceinline__ float sum_of_warp(float value) {
  TANDEM_UNROLL
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// One row of the weight with up to eight of x: a lane takes every 32nd column.
__device__ __forceinline__ void multiply_row(const float* weight, MatrixView x,
                                             const TileRows& rows, int lane, float (&acc)[kRows]) {
  const float* from[kRows];
  TANDEM_UNROLL
  for (int n = 0; n < kRows; ++n) from[n] = x.data + rows.x_row(n) * x.row_stride;
  for (std::int64_t column = lane; column < x.columns; column += 32) {
    const float w = __ldg(weight + column);
    TANDEM_UNROLL
    for (int n = 0; n < kRows; ++n) {
      if (n < rows.count) acc[n] = fmaf(w, from[n][column], acc[n]);
    }
  }
}

// Grid: [tiles, groups of 16 rows of all targets]. A warp takes two rows of the group.
__global__ void __launch_bounds__(32 * kWarps) multiply_floats(ProductBatch batch, MatrixView x) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const TileRows rows = tile_rows(batch, static_cast<int>(blockIdx.x), kRows);
  if (rows.count <= 0) return;
  const auto group = static_cast<std::int32_t>(blockIdx.y);
  const ProductTarget& target = target_of(batch, group);
  for (int i = warp; i < kGroupRows; i += kWarps) {
    const std::int32_t row = (group - target.first_group) * kGroupRows + i;
    if (row >= target.rows) return;
    float acc[kRows] = {};
    if (rows.expert >= 0) {
      const std::uint8_t* weight = target.weight + rows.expert * target.expert_bytes +
                                   row * (batch.group_bytes / kGroupRows);
      multiply_row(reinterpret_cast<const float*>(weight), x, rows, lane, acc);
    }
    TANDEM_UNROLL
    for (int n = 0; n < kRows; ++n) {
      float sum = sum_of_warp(acc[n]);
      if (target.bias != nullptr) sum += target.bias[row];
      if (lane == n && n < rows.count) target.y[rows.y_row(n) * target.y_stride + row] = sum;
    }
  }
}

}  // namespace

cudaError_t float_product(cudaStream_t stream, const ProductBatch& batch, MatrixView x,
                          int column_tiles) {
  const LaunchShape shape{
      dim3(static_cast<unsigned>(column_tiles), static_cast<unsigned>(batch.num_groups)),
      dim3(32 * kWarps), 0};
  return launch(stream, multiply_floats, shape, batch, x);
}

}  // namespace tandem::cuda
