#pragma once

#include <algorithm>
#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr std::int64_t kMaxGridRows = 65535;  // of gridDim.y

// Blocks of `threads` threads, one a column (x) and a row (y); kernels stride over further rows.
inline LaunchShape shape_over(std::int64_t rows, std::int64_t columns, int threads) {
  const auto blocks = static_cast<unsigned>((columns + threads - 1) / threads);
  const auto lines = static_cast<unsigned>(std::min(rows, kMaxGridRows));
  return {dim3(blocks, lines), dim3(static_cast<unsigned>(threads)), 0};
}

// MatrixView::row() in a kernel: nvcc lets device code call no host function.
__device__ inline float* row_of(const MatrixView& x, std::int64_t index) {
  return x.data + index * x.row_stride;
}

// Sums of one value over the lanes of a warp; every lane gets the sum. The order is fixed.
__device__ inline float warp_sum(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

__device__ inline float warp_max(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
}

}  // namespace tandem::cuda
