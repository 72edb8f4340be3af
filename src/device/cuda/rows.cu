#include "device/cuda/rows.h"

#include "device/cuda/block_values.h"
#include "device/cuda/grid.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void gather_rows_kernel(MatrixView x, const std::int32_t* indices, MatrixView out) {
  const std::int64_t column = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (column >= out.columns) return;
  for (std::int64_t row = blockIdx.y; row < out.rows; row += gridDim.y) {
    row_of(out, row)[column] = row_of(x, indices[row])[column];
  }
}

template <ElementType kType>
__global__ void expand_rows_kernel(const std::uint8_t* blocks, std::int64_t row_bytes, float scale,
                                   MatrixView out) {
  const std::int64_t column = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (column >= out.columns) return;
  for (std::int64_t row = blockIdx.y; row < out.rows; row += gridDim.y) {
    row_of(out, row)[column] = scale * BlockValues<kType>::at(blocks + row * row_bytes, column);
  }
}

}  // namespace

cudaError_t gather_rows(cudaStream_t stream, MatrixView x, const std::int32_t* indices,
                        MatrixView out) {
  if (out.rows == 0 || out.columns == 0) return cudaSuccess;
  return launch(stream, gather_rows_kernel, shape_over(out.rows, out.columns, kThreads), x, indices,
                out);
}

cudaError_t expand_rows(cudaStream_t stream, ElementType type, const void* blocks,
                        std::int64_t row_bytes, float scale, MatrixView out) {
  if (out.rows == 0 || out.columns == 0) return cudaSuccess;
  cudaError_t error = cudaErrorInvalidValue;  // a type that is no weight's
  with_weight_type(type, [&]<ElementType kType>() {
    error = launch(stream, expand_rows_kernel<kType>, shape_over(out.rows, out.columns, kThreads),
                   static_cast<const std::uint8_t*>(blocks), row_bytes, scale, out);
  });
  return error;
}

}  // namespace tandem::cuda
