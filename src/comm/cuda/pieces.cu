#include "comm/cuda/meeting.h"
#include "device/cuda/grid.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void raise_flag_kernel(std::uint32_t* flag, std::uint32_t value) {
  // What copy engines wrote before on this stream is done; the fence orders it for other GPUs.
  __threadfence_system();
  store_flag(flag, value);
}

__global__ void await_flag_kernel(const std::uint32_t* flag, std::uint32_t value, int peer,
                                  WaitTerms terms) {
  const std::uint64_t began = clock_ns();
  (void)wait_for_flag(flag, value, peer, terms);
  terms.times_ns[0] += clock_ns() - began;
  if (!terms.is_beside) terms.report->wait_ns = terms.times_ns[0];
}

__global__ void add_slot_kernel(MatrixView x, const float* slot) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t row = blockIdx.y; row < x.rows; row += gridDim.y) {
    float* numbers = row_of(x, row);
    const auto* bits = reinterpret_cast<const unsigned*>(slot + row * x.columns);
    for (std::int64_t i = first; i < x.columns; i += step) {
      numbers[i] = __uint_as_float(load_shared(bits + i)) + numbers[i];
    }
  }
}

}  // namespace

cudaError_t raise_flag(cudaStream_t stream, std::uint32_t* flag, std::uint32_t value) {
  return launch(stream, raise_flag_kernel, {dim3(1), dim3(1)}, flag, value);
}

cudaError_t await_flag(cudaStream_t stream, const std::uint32_t* flag, std::uint32_t value,
                       int peer, const WaitTerms& terms) {
  return launch(stream, await_flag_kernel, {dim3(1), dim3(1)}, flag, value, peer, terms);
}

cudaError_t add_slot(cudaStream_t stream, const MatrixView& x, const float* slot) {
  return launch(stream, add_slot_kernel, shape_over(x.rows, x.columns, kThreads), x, slot);
}

}  // namespace tandem::cuda
