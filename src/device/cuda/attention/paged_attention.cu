#include "device/cuda/attention/paged_attention.h"

#include <algorithm>

#include "base/checked.h"
#include "device/cuda/attention/attention_batch.h"
#include "device/cuda/attention/attention_merge.h"

namespace tandem::cuda {
namespace {

constexpr std::int32_t kSplitTileRows = 16;
constexpr std::int32_t kWholeTileRows = 64;

// Sizes depend on the limits alone, so that a graph serves every step that shares them.
AttentionGrid grid_of(const AttentionArgs& args, const DeviceSequences::Limits& limits) {
  AttentionGrid grid;
  const std::int32_t heads = args.q_heads_per_kv_head;
  if (heads <= kSplitRows) {
    const std::int32_t tokens = std::min(limits.max_tokens, kSplitTokens);
    const std::int32_t rows = std::min(tokens * heads, kSplitRows);
    grid.split_tiles = limits.num_sequences * ceil_div(rows, kSplitTileRows);
    // What a tile sees may begin and end within splits.
    const std::int32_t seen =
        args.window > 0 ? std::min(limits.max_context, args.window + tokens + kSplitPositions)
                        : limits.max_context;
    grid.num_splits = most_splits(seen);
  }
  if (limits.max_tokens > kSplitTokens || limits.max_tokens * heads > kSplitRows) {
    grid.whole_tiles = limits.num_tokens * heads / kWholeTileRows + limits.num_sequences;
  }
  return grid;
}

// Of split sequences.
std::int32_t max_split_tokens(const DeviceSequences::Limits& limits) {
  return std::min(limits.num_tokens, limits.num_sequences * kSplitTokens);
}

AttentionBatch batch_of(const AttentionArgs& args, const DeviceSequences& sequences) {
  AttentionBatch batch;
  batch.q = args.q.data;
  batch.q_stride = args.q.row_stride;
  batch.out = args.out.data;
  batch.out_stride = args.out.row_stride;
  batch.k = args.kv.k;
  batch.v = args.kv.v;
  batch.block_tokens = args.kv.block_tokens;
  batch.num_kv_heads = args.kv.num_kv_heads;
  batch.head_dim = args.kv.head_dim;
  batch.num_q_heads = args.num_q_heads;
  batch.q_heads_per_kv_head = args.q_heads_per_kv_head;
  batch.q_head_offset = args.q_head_offset;
  batch.scale = args.scale;
  batch.soft_cap = args.soft_cap;
  batch.window = args.window;
  batch.sequences = sequences.sequences;
  batch.block_tables = sequences.block_tables;
  batch.num_sequences = sequences.limits.num_sequences;
  return batch;
}

template <ElementType kType>
cudaError_t start(cudaStream_t stream, const AttentionBatch& batch, const AttentionGrid& grid) {
  if (batch.head_dim <= 64) return start_attention<1, kType>(stream, batch, grid);
  if (batch.head_dim <= 128) return start_attention<2, kType>(stream, batch, grid);
  return start_attention<4, kType>(stream, batch, grid);
}

}  // namespace

bool has_paged_attention(const KvView& kv) {
  const bool is_f16 = kv.type == ElementType::kF16 && kv.head_dim % 8 == 0;
  const bool is_q8 = kv.type == ElementType::kQ8_0 && kv.head_dim % 32 == 0;
  return (is_f16 || is_q8) && kv.head_dim <= 256;
}

std::int64_t paged_attention_scratch_bytes(const AttentionArgs& args,
                                           const DeviceSequences::Limits& limits) {
  const AttentionGrid grid = grid_of(args, limits);
  if (grid.split_tiles == 0) return 0;
  return split_parts_bytes(max_split_tokens(limits), args.num_q_heads, grid.num_splits,
                           args.kv.head_dim);
}

cudaError_t paged_attention(cudaStream_t stream, const AttentionArgs& args,
                            const DeviceSequences& sequences, void* scratch) {
  const AttentionGrid grid = grid_of(args, sequences.limits);
  AttentionBatch batch = batch_of(args, sequences);
  batch.parts = static_cast<float*>(scratch);
  batch.max_splits = grid.num_splits;
  const cudaError_t error = args.kv.type == ElementType::kF16
                                ? start<ElementType::kF16>(stream, batch, grid)
                                : start<ElementType::kQ8_0>(stream, batch, grid);
  if (error != cudaSuccess || grid.split_tiles == 0 || grid.num_splits <= 1) return error;
  return merge_splits(stream, batch, max_split_tokens(sequences.limits));
}

}  // namespace tandem::cuda
