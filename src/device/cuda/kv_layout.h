#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// Where the KV cache of ops.h keeps a position's keys or values of one head, on a CUDA device:
// as KvView says, row after row, k and v alike. A row is head_dim numbers of `type`.

// Bytes of one row: head_dim numbers.
__host__ __device__ inline std::int64_t kv_row_bytes(ElementType type, std::int32_t head_dim) {
  if (type == ElementType::kF32) return std::int64_t{4} * head_dim;
  if (type == ElementType::kF16) return std::int64_t{2} * head_dim;
  return head_dim / 32 * std::int64_t{34};  // Q8_0
}

// The row of `head` at a position in block `block`, `offset` positions into it.
__host__ __device__ inline std::int64_t kv_row_offset(const KvView& kv, std::int64_t block,
                                                      std::int32_t offset, std::int32_t head) {
  const std::int64_t row = (block * kv.num_kv_heads + head) * kv.block_tokens + offset;
  return row * kv_row_bytes(kv.type, kv.head_dim);
}

}  // namespace tandem::cuda
