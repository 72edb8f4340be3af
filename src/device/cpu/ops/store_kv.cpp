#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {
namespace {

void store_row(const Kernels& kernels, ElementType type, const float* row, std::int64_t count,
               std::byte* out) {
  if (type == ElementType::kF16) {
    kernels.f16(row, count, reinterpret_cast<std::uint16_t*>(out));
  } else if (type == ElementType::kF32) {
    std::memcpy(out, row, static_cast<std::size_t>(count) * sizeof(float));
  } else {
    kernels.q8_0(row, count, out);
  }
}

// Writes element d to out[d * stride]. type: kF16 or kF32.
void store_column(const Kernels& kernels, ElementType type, const float* row, std::int64_t count,
                  std::int64_t stride, std::byte* out) {
  if (type == ElementType::kF32) {
    auto* to = reinterpret_cast<float*>(out);
    for (std::int64_t d = 0; d < count; ++d) to[d * stride] = row[d];
    return;
  }
  constexpr std::int64_t kPiece = 64;
  std::uint16_t rounded[kPiece];
  auto* to = reinterpret_cast<std::uint16_t*>(out);
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t n = std::min(kPiece, count - begin);
    kernels.f16(row + begin, n, rounded);
    for (std::int64_t d = 0; d < n; ++d) to[(begin + d) * stride] = rounded[d];
  }
}

// Asks for the lines that store_token() writes, all at once: in decoding they have left the caches,
// and a core waits for stores to many lines almost one after another.
[[gnu::always_inline]] inline void prefetch_token(const KvView& kv, std::int64_t slot,
                                                  const void* base, bool by_columns) {
  const std::int64_t row_bytes = *bytes_of(kv.type, kv.head_dim);
  const std::int64_t head_bytes = row_bytes * kv.block_tokens;
  const std::int64_t offset = slot % kv.block_tokens;
  const auto* block =
      static_cast<const std::byte*>(base) + slot / kv.block_tokens * kv.num_kv_heads * head_bytes;
  // By columns, a token's numbers lie all over its head's part of the block.
  const std::int64_t begin = by_columns ? 0 : offset * row_bytes;
  const std::int64_t end = by_columns ? head_bytes : begin + row_bytes;
  for (std::int32_t head = 0; head < kv.num_kv_heads; ++head) {
    for (std::int64_t at = begin; at < end; at += 64) {
      __builtin_prefetch(block + head * head_bytes + at, 1);
    }
  }
}

// Writes every head of one token's K or V. by_columns: see keys_by_columns().
void store_token(const Kernels& kernels, const KvView& kv, std::int64_t slot, const float* heads,
                 void* base, bool by_columns) {
  const std::int64_t row_bytes = *bytes_of(kv.type, kv.head_dim);
  const std::int64_t head_bytes = row_bytes * kv.block_tokens;
  const std::int64_t offset = slot % kv.block_tokens;
  auto* block =
      static_cast<std::byte*>(base) + slot / kv.block_tokens * kv.num_kv_heads * head_bytes;
  for (std::int32_t head = 0; head < kv.num_kv_heads; ++head) {
    const float* row = heads + head * kv.head_dim;
    std::byte* out = block + head * head_bytes;
    if (by_columns) {
      store_column(kernels, kv.type, row, kv.head_dim, kv.block_tokens,
                   out + offset * (row_bytes / kv.head_dim));
    } else {
      store_row(kernels, kv.type, row, kv.head_dim, out + offset * row_bytes);
    }
  }
}

}  // namespace

void store_kv(CpuContext& context, MatrixView k, MatrixView v, const KvView& kv,
              std::span<const std::int64_t> slots) {
  if (slots.empty() || kv.num_kv_heads == 0) return;
  const std::int64_t columns = static_cast<std::int64_t>(kv.num_kv_heads) * kv.head_dim;
  TANDEM_CHECK(k.columns == columns && v.columns == columns, "k and v hold all heads of the cache");
  TANDEM_CHECK(k.rows == v.rows && k.rows == static_cast<std::int64_t>(slots.size()),
               "one slot a token");
  TANDEM_CHECK(kv.type == ElementType::kF16 || kv.type == ElementType::kF32 ||
                   (kv.type == ElementType::kQ8_0 && kv.head_dim % 32 == 0),
               "a type that the cache may have");
  const std::int64_t num_slots = static_cast<std::int64_t>(kv.num_blocks) * kv.block_tokens;
  for (const std::int64_t slot : slots) {
    TANDEM_CHECK(slot >= 0 && slot < num_slots, "a slot of the cache");
  }
  const bool by_columns = keys_by_columns(kv.type, kv.block_tokens);
  for_range(context, k.rows, 2 * columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t slot = slots[static_cast<std::size_t>(i)];
      const bool same_block =
          i > begin &&
          slot / kv.block_tokens == slots[static_cast<std::size_t>(i - 1)] / kv.block_tokens;
      if (!same_block) {
        prefetch_token(kv, slot, kv.k, by_columns);
        prefetch_token(kv, slot, kv.v, false);
      }
      store_token(context.kernels, kv, slot, k.row(i), kv.k, by_columns);
      store_token(context.kernels, kv, slot, v.row(i), kv.v, false);
    }
  });
}

}  // namespace tandem::cpu_ops
