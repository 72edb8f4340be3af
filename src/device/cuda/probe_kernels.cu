#include "device/cuda/probe_kernels.h"

#include "device/cuda/matmul/unroll.h"
#include "device/cuda/warp_mma.h"

namespace tandem::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksEach = 4;   // on a multiprocessor
constexpr int kSums = 8;         // that do not wait for each other
constexpr int kFloatSteps = 16;  // of each sum in a round

// A value that no sum below has, as far as the compiler can tell otherwise.
constexpr std::uint32_t kNever = 0x5eed1e55u;

__device__ void keep(std::uint32_t value, std::uint32_t* sink) {
  if (value == kNever) *sink = value;
}

// As many loads in flight as there are values; places behind the end give the first again.
template <int kLoads>
__device__ void load(const uint4* data, std::int64_t count, std::int64_t at, std::int64_t stride,
                     uint4 (&values)[kLoads]) {
  TANDEM_UNROLL
  for (int i = 0; i < kLoads; ++i) {
    const std::int64_t place = at + i * stride;
    values[i] = data[place < count ? place : at];
  }
}

template <int kLoads>
__global__ void read_kernel(const uint4* data, std::int64_t count, int passes,
                            std::uint32_t* sink) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  std::uint32_t sum = 0;
  for (int pass = 0; pass < passes; ++pass) {
    for (std::int64_t at = first; at < count; at += kLoads * stride) {
      uint4 values[kLoads];
      load(data, count, at, stride, values);
      TANDEM_UNROLL
      for (int i = 0; i < kLoads; ++i) {
        sum += values[i].x ^ values[i].y ^ values[i].z ^ values[i].w;
      }
    }
    sum *= 3;  // passes are not alike
  }
  keep(sum, sink);
}

__global__ void copy_kernel(uint4* to, const uint4* from, std::int64_t count, int passes) {
  constexpr int kLoads = 4;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (int pass = 0; pass < passes; ++pass) {
    for (std::int64_t at = first; at < count; at += kLoads * stride) {
      uint4 values[kLoads];
      load(from, count, at, stride, values);
      TANDEM_UNROLL
      for (int i = 0; i < kLoads; ++i) {
        if (at + i * stride < count) to[at + i * stride] = values[i];
      }
    }
  }
}

__global__ void int8_kernel(int rounds, std::uint32_t* sink) {
  std::int32_t sums[kSums][4] = {};
  const FragmentA a = {0x01010101u, 0x01010101u, 0x01010101u, threadIdx.x};
  const FragmentB b = {0x01010101u, threadIdx.x};
  for (int i = 0; i < rounds; ++i) {
    TANDEM_UNROLL
    for (int j = 0; j < kSums; ++j) mma_m16n8k32_s8(sums[j], a, b);
  }
  std::int32_t sum = 0;
  TANDEM_UNROLL
  for (int j = 0; j < kSums; ++j) sum += sums[j][0] + sums[j][1] + sums[j][2] + sums[j][3];
  keep(static_cast<std::uint32_t>(sum), sink);
}

__global__ void f16_kernel(int rounds, std::uint32_t* sink) {
  float sums[kSums][4] = {};
  const FragmentA a = {0x3c003c00u, 0x3c003c00u, 0x3c003c00u, threadIdx.x};
  const FragmentB b = {0x3c003c00u, threadIdx.x};
  for (int i = 0; i < rounds; ++i) {
    TANDEM_UNROLL
    for (int j = 0; j < kSums; ++j) mma_m16n8k16_f16(sums[j], a, b);
  }
  float sum = 0;
  TANDEM_UNROLL
  for (int j = 0; j < kSums; ++j) sum += sums[j][0] + sums[j][1] + sums[j][2] + sums[j][3];
  keep(__float_as_uint(sum), sink);
}

__global__ void float_kernel(int rounds, float factor, std::uint32_t* sink) {
  float sums[kSums];
  TANDEM_UNROLL
  for (int j = 0; j < kSums; ++j) sums[j] = static_cast<float>(threadIdx.x + j);
  for (int i = 0; i < rounds; ++i) {
    TANDEM_UNROLL
    for (int step = 0; step < kFloatSteps; ++step) {
      TANDEM_UNROLL
      for (int j = 0; j < kSums; ++j) sums[j] = fmaf(sums[j], factor, 1.0f);
    }
  }
  float sum = 0;
  TANDEM_UNROLL
  for (int j = 0; j < kSums; ++j) sum += sums[j];
  keep(__float_as_uint(sum), sink);
}

int num_blocks(ProbeShape shape) {
  return kBlocksEach * shape.num_multiprocessors;
}

LaunchShape launch_shape(ProbeShape shape) {
  return {dim3(static_cast<unsigned>(num_blocks(shape))), dim3(kThreads), 0};
}

// Of one matrix product m x n x k by every warp, in every sum.
double matrix_operations(ProbeShape shape, int rounds, int k) {
  const double warps = static_cast<double>(num_blocks(shape)) * (kThreads / 32);
  return 2.0 * 16 * 8 * k * kSums * warps * rounds;
}

}  // namespace

cudaError_t probe_read(cudaStream_t stream, ProbeShape shape, const void* data, std::int64_t bytes,
                       int passes, int loads, std::uint32_t* sink) {
  auto* const kernel = loads == 1 ? read_kernel<1> : loads == 4 ? read_kernel<4> : read_kernel<8>;
  return launch(stream, kernel, launch_shape(shape), static_cast<const uint4*>(data),
                bytes / static_cast<std::int64_t>(sizeof(uint4)), passes, sink);
}

cudaError_t probe_copy(cudaStream_t stream, ProbeShape shape, void* to, const void* from,
                       std::int64_t bytes, int passes) {
  return launch(stream, copy_kernel, launch_shape(shape), static_cast<uint4*>(to),
                static_cast<const uint4*>(from), bytes / static_cast<std::int64_t>(sizeof(uint4)),
                passes);
}

cudaError_t probe_int8_products(cudaStream_t stream, ProbeShape shape, int rounds,
                                std::uint32_t* sink) {
  return launch(stream, int8_kernel, launch_shape(shape), rounds, sink);
}

cudaError_t probe_f16_products(cudaStream_t stream, ProbeShape shape, int rounds,
                               std::uint32_t* sink) {
  return launch(stream, f16_kernel, launch_shape(shape), rounds, sink);
}

cudaError_t probe_float_products(cudaStream_t stream, ProbeShape shape, int rounds,
                                 std::uint32_t* sink) {
  return launch(stream, float_kernel, launch_shape(shape), rounds, 0.5f, sink);
}

double int8_operations(ProbeShape shape, int rounds) {
  return matrix_operations(shape, rounds, 32);
}

double f16_operations(ProbeShape shape, int rounds) {
  return matrix_operations(shape, rounds, 16);
}

double float_operations(ProbeShape shape, int rounds) {
  return 2.0 * kFloatSteps * kSums * kThreads * num_blocks(shape) * rounds;
}

}  // namespace tandem::cuda
