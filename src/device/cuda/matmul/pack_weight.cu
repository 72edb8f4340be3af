#include "device/cuda/matmul/pack_weight.h"

#include "base/checked.h"
#include "device/cuda/matmul/fragment_packing.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

__global__ void pack_codes(PackJob job, std::int64_t num_threads) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread < num_threads) pack_lane(job, thread);
}
__global__ void pack_scales(PackJob job, std::int64_t num_threads) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread < num_threads) pack_row_scales(job, thread);
}

LaunchShape shape_for(std::int64_t threads) {
  return {dim3(static_cast<unsigned>(ceil_div<std::int64_t>(threads, kThreads))), dim3(kThreads),
          0};
}

}  // namespace

cudaError_t pack_weight(cudaStream_t stream, ElementType type, std::int64_t num_rows,
                        std::int64_t columns, const std::uint8_t* file_rows, std::uint8_t* packed) {
  if (num_rows == 0 || columns == 0) return cudaSuccess;
  const PackJob job = pack_job(type, num_rows, columns, file_rows, packed);
  if (num_rows % kGroupRows != 0) {
    const auto bytes = static_cast<std::size_t>(packed_bytes(type, num_rows, columns));
    const cudaError_t error = cudaMemsetAsync(packed, 0, bytes, stream);
    if (error != cudaSuccess) return error;
  }
  const std::int64_t lanes = num_packed_lanes(job);
  const cudaError_t error = launch(stream, pack_codes, shape_for(lanes), job, lanes);
  const std::int64_t rows = num_packed_rows(job);
  if (error != cudaSuccess || rows == 0) return error;
  return launch(stream, pack_scales, shape_for(rows), job, rows);
}

}  // namespace tandem::cuda
