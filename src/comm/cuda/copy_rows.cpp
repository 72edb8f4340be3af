#include "comm/cuda/copy_rows.h"

namespace tandem::cuda {

cudaError_t copy_rows(cudaStream_t stream, const MatrixView& to, const MatrixView& from) {
  constexpr auto kFloatBytes = static_cast<std::int64_t>(sizeof(float));
  const auto width = static_cast<std::size_t>(from.columns * kFloatBytes);
  if (width == 0 || from.rows == 0) return cudaSuccess;
  if (to.row_stride == to.columns && from.row_stride == from.columns) {
    return cudaMemcpyAsync(to.data, from.data, width * static_cast<std::size_t>(from.rows),
                           cudaMemcpyDefault, stream);
  }
  return cudaMemcpy2DAsync(to.data, static_cast<std::size_t>(to.row_stride * kFloatBytes),
                           from.data, static_cast<std::size_t>(from.row_stride * kFloatBytes),
                           width, static_cast<std::size_t>(from.rows), cudaMemcpyDefault, stream);
}

}  // namespace tandem::cuda
