#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// How the kernels that find ceilings are started: on every multiprocessor as many threads as it
// holds.
struct ProbeShape {
  int num_multiprocessors = 1;
};

// Stream-ordered; `sink` (a word of device memory) keeps results alive and is not written.
// Reads `bytes` (a multiple of 16) at `data`, `passes` times, with `loads` (1, 4 or 8) reads of 16
// bytes in flight in each thread.
cudaError_t probe_read(cudaStream_t stream, ProbeShape shape, const void* data, std::int64_t bytes,
                       int passes, int loads, std::uint32_t* sink);
// Copies `bytes` (a multiple of 16), `passes` times.
cudaError_t probe_copy(cudaStream_t stream, ProbeShape shape, void* to, const void* from,
                       std::int64_t bytes, int passes);

// Products in registers, with eight independent sums a warp (or a thread): operations_of() of them.
cudaError_t probe_int8_products(cudaStream_t stream, ProbeShape shape, int rounds,
                                std::uint32_t* sink);
cudaError_t probe_f16_products(cudaStream_t stream, ProbeShape shape, int rounds,
                               std::uint32_t* sink);
cudaError_t probe_float_products(cudaStream_t stream, ProbeShape shape, int rounds,
                                 std::uint32_t* sink);

// What one of the latter does; a multiplication and an addition are two operations.
double int8_operations(ProbeShape shape, int rounds);
double f16_operations(ProbeShape shape, int rounds);
double float_operations(ProbeShape shape, int rounds);

}  // namespace tandem::cuda
