#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// Where the KV cache of ops.h keeps a position's keys or values of one head, on a CUDA device, k
// and v alike. F16 and F32: as KvView says, rows of head_dim numbers. Q8_0: within a head of a
// block, the codes of all its positions ([block_tokens][head_dim] bytes), behind them their scales
// ([block_tokens][head_dim / 32] float16): as many bytes as the blocks of a file, but aligned.

// The number of the row of `head` at a position in block `block`, `offset` positions into it.
__host__ __device__ inline std::int64_t kv_row(const KvView& kv, std::int64_t block,
                                               std::int32_t offset, std::int32_t head) {
  return (block * kv.num_kv_heads + head) * kv.block_tokens + offset;
}

// Where in a Q8_0 cache a row's codes begin, and its scales; in bytes. Rows are fewer than 2^31,
// and dividing 64 bits is slow.
struct Q8Place {
  std::int64_t codes;
  std::int64_t scales;
};
__host__ __device__ inline Q8Place q8_place(std::int64_t row, std::int32_t block_tokens,
                                            std::int32_t head_dim) {
  const std::int32_t offset = static_cast<std::int32_t>(row) % block_tokens;
  const std::int64_t begin = (row - offset) * (head_dim + head_dim / 16);
  return {begin + offset * head_dim, begin + block_tokens * head_dim + offset * (head_dim / 16)};
}

// Number d of a row of `cache` (kv.k or kv.v).
template <ElementType kType>
__device__ inline float kv_number(const KvView& kv, const void* cache, std::int64_t row, int d) {
  if constexpr (kType == ElementType::kF32) {
    return static_cast<const float*>(cache)[row * kv.head_dim + d];
  } else if constexpr (kType == ElementType::kF16) {
    return __half2float(static_cast<const __half*>(cache)[row * kv.head_dim + d]);
  } else {
    const Q8Place place = q8_place(row, kv.block_tokens, kv.head_dim);
    const auto* bytes = static_cast<const std::uint8_t*>(cache);
    const auto* scale = reinterpret_cast<const __half*>(bytes + place.scales) + d / 32;
    return __half2float(*scale) *
           static_cast<float>(static_cast<std::int8_t>(bytes[place.codes + d]));
  }
}

}  // namespace tandem::cuda
