#include "device/cuda/elementwise.h"

#include "device/cuda/gate.h"
#include "device/cuda/grid.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;

// Calls op(row, column) for every element, one thread each.
template <typename Op>
__device__ void for_elements(std::int64_t rows, std::int64_t columns, Op op) {
  const std::int64_t column = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) op(row, column);
}

__global__ void add_kernel(MatrixView x, MatrixView y) {
  for_elements(x.rows, x.columns, [&](std::int64_t row, std::int64_t column) {
    x.data[row * x.row_stride + column] += y.data[row * y.row_stride + column];
  });
}

__global__ void soft_cap_kernel(MatrixView x, float cap) {
  for_elements(x.rows, x.columns, [&](std::int64_t row, std::int64_t column) {
    float& value = x.data[row * x.row_stride + column];
    value = cap * tanhf(value / cap);
  });
}

__global__ void gated_activation_kernel(GateKind kind, MatrixView gate, MatrixView up) {
  for_elements(gate.rows, gate.columns, [&](std::int64_t row, std::int64_t column) {
    float& value = gate.data[row * gate.row_stride + column];
    value = gated(kind, value, up.data[row * up.row_stride + column]);
  });
}

}  // namespace

cudaError_t add(cudaStream_t stream, MatrixView x, MatrixView y) {
  if (x.rows == 0 || x.columns == 0) return cudaSuccess;
  return launch(stream, add_kernel, shape_over(x.rows, x.columns, kThreads), x, y);
}

cudaError_t soft_cap(cudaStream_t stream, MatrixView x, float cap) {
  if (x.rows == 0 || x.columns == 0) return cudaSuccess;
  return launch(stream, soft_cap_kernel, shape_over(x.rows, x.columns, kThreads), x, cap);
}

cudaError_t gated_activation(cudaStream_t stream, GateKind kind, MatrixView gate, MatrixView up) {
  if (gate.rows == 0 || gate.columns == 0) return cudaSuccess;
  return launch(stream, gated_activation_kernel, shape_over(gate.rows, gate.columns, kThreads),
                kind, gate, up);
}

}  // namespace tandem::cuda
