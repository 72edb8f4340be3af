#include "device/cuda/kv_store.h"

#include "device/cuda/grid.h"
#include "device/cuda/kv_layout.h"

namespace tandem::cuda {
namespace {

constexpr int kWarpsPerBlock = 4;

// 32 numbers of one lane each, rounded to a block of Q8_0 as the CPU's kernels do it.
__device__ void store_q8_0(float value, std::uint8_t* codes, unsigned short* scale) {
  const float largest = warp_max(fabsf(value));
  const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
  codes[threadIdx.x] = static_cast<std::uint8_t>(__float2int_rn(value * inverse));
  if (threadIdx.x == 0) *scale = __half_as_ushort(__float2half_rn(largest / 127.0f));
}

// numbers: [head_dim], of row `row` of `cache` (kv.k or kv.v).
template <ElementType kType>
__device__ void store_row(const float* numbers, const KvView& kv, void* cache, std::int64_t row) {
  for (std::int32_t first = 0; first < kv.head_dim; first += kWarp) {
    const std::int32_t d = first + static_cast<std::int32_t>(threadIdx.x);
    if constexpr (kType == ElementType::kQ8_0) {  // head_dim is a multiple of 32
      const Q8Place place = q8_place(row, kv.block_tokens, kv.head_dim);
      auto* bytes = static_cast<std::uint8_t*>(cache);
      auto* scales = reinterpret_cast<unsigned short*>(bytes + place.scales);
      store_q8_0(numbers[d], bytes + place.codes + first, scales + first / 32);
    } else if (d < kv.head_dim) {
      if constexpr (kType == ElementType::kF16) {
        static_cast<__half*>(cache)[row * kv.head_dim + d] = __float2half_rn(numbers[d]);
      } else {
        static_cast<float*>(cache)[row * kv.head_dim + d] = numbers[d];
      }
    }
  }
}

// One warp a head of k and of v. Grid: heads / kWarpsPerBlock, tokens.
template <ElementType kType>
__global__ void store_kv_kernel(MatrixView k, MatrixView v, KvView kv, const std::int64_t* slots) {
  const int head = static_cast<int>(blockIdx.x) * kWarpsPerBlock + static_cast<int>(threadIdx.y);
  if (head >= kv.num_kv_heads) return;
  for (std::int64_t token = blockIdx.y; token < k.rows; token += gridDim.y) {
    const std::int64_t slot = slots[token];
    const std::int64_t row =
        kv_row(kv, slot / kv.block_tokens, static_cast<std::int32_t>(slot % kv.block_tokens), head);
    const int first = head * kv.head_dim;
    store_row<kType>(row_of(k, token) + first, kv, kv.k, row);
    store_row<kType>(row_of(v, token) + first, kv, kv.v, row);
  }
}

}  // namespace

cudaError_t store_kv(cudaStream_t stream, MatrixView k, MatrixView v, const KvView& kv,
                     const std::int64_t* slots) {
  if (k.rows == 0 || kv.num_kv_heads == 0) return cudaSuccess;
  const auto blocks =
      static_cast<unsigned>((kv.num_kv_heads + kWarpsPerBlock - 1) / kWarpsPerBlock);
  const LaunchShape shape{dim3(blocks, static_cast<unsigned>(std::min(k.rows, kMaxGridRows))),
                          dim3(kWarp, kWarpsPerBlock), 0};
  const auto kernel = kv.type == ElementType::kF16   ? store_kv_kernel<ElementType::kF16>
                      : kv.type == ElementType::kF32 ? store_kv_kernel<ElementType::kF32>
                                                     : store_kv_kernel<ElementType::kQ8_0>;
  return launch(stream, kernel, shape, k, v, kv, slots);
}

}  // namespace tandem::cuda
