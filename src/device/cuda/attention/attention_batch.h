#pragma once

#include <cstdint>

#include "device/cuda/attention.h"
#include "device/cuda/cuda_api.h"
#include "device/cuda/matmul/unroll.h"
#include "tensor/gpu_memory.h"

namespace tandem::cuda {

inline constexpr float kNoScore = -3.0e38f;  // less than any score; differences stay finite
inline constexpr float kLog2E = 1.44269504088896341f;

// Positions of one split: 256, or where a context would have more than kMaxSplits, a multiple.
__host__ __device__ inline std::int32_t split_positions(std::int32_t context_tokens) {
  constexpr std::int32_t kMost = kMaxSplits * kSplitPositions;
  return kSplitPositions * ((context_tokens + kMost - 1) / kMost);
}

// A call of the op, by value into kernels.
struct AttentionBatch {
  const float* q = nullptr;  // [num_tokens, num_q_heads * head_dim]
  std::int64_t q_stride = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  const void* k = nullptr;
  const void* v = nullptr;
  std::int32_t block_tokens = 0;
  std::int32_t num_kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t num_q_heads = 0;
  std::int32_t q_heads_per_kv_head = 1;
  std::int32_t q_head_offset = 0;
  float scale = 1.0f;
  float soft_cap = 0.0f;
  std::int32_t window = 0;
  const DeviceSequence* sequences = nullptr;
  const std::int32_t* block_tables = nullptr;
  std::int32_t num_sequences = 0;
  // Of split sequences: for each of their tokens in order, query head and split, the largest score,
  // the sum of the probabilities and their sum over the values, [2 + head_dim].
  float* parts = nullptr;
  std::int32_t max_splits = 0;
};

// How many blocks of threads there may be.
struct AttentionGrid {
  std::int32_t split_tiles = 0;  // of 16 rows
  std::int32_t num_splits = 0;
  std::int32_t whole_tiles = 0;  // of 64 rows
};

// Starts the kernels of a cache of kType; attention_f16.cu, attention_q8.cu.
// kWide: numbers of a head / 64, rounded up: 1, 2 or 4 (which serves 3).
template <int kWide, ElementType kType>
cudaError_t start_attention(cudaStream_t stream, const AttentionBatch& batch,
                            const AttentionGrid& grid);

// One row of a sequence: which query and head, and what it sees.
struct AttentionRow {
  std::int32_t token = 0;  // of the batch
  std::int32_t head = -1;  // -1: there is no such row
  std::int32_t begin = 0;  // positions [begin, end)
  std::int32_t end = 0;
};

__device__ inline AttentionRow attention_row(const AttentionBatch& batch,
                                             const DeviceSequence& sequence, std::int32_t kv_head,
                                             std::int32_t index) {
  AttentionRow row;
  const std::int32_t query = index / batch.q_heads_per_kv_head;
  const std::int32_t head =
      kv_head * batch.q_heads_per_kv_head + index % batch.q_heads_per_kv_head - batch.q_head_offset;
  if (query >= sequence.num_tokens || head < 0 || head >= batch.num_q_heads) return row;
  row.token = sequence.first_token + query;
  row.head = head;
  row.end = sequence.context_tokens - sequence.num_tokens + query + 1;
  row.begin = batch.window > 0 && row.end > batch.window ? row.end - batch.window : 0;
  return row;
}

__device__ inline bool is_split(const AttentionBatch& batch, const DeviceSequence& sequence) {
  return sequence.num_tokens <= kSplitTokens &&
         sequence.num_tokens * batch.q_heads_per_kv_head <= kSplitRows;
}

// The first and the last split of a row.
struct SplitRange {
  std::int32_t first;
  std::int32_t last;
};
__device__ inline SplitRange splits_of(std::int32_t begin, std::int32_t end,
                                       std::int32_t positions) {
  return {begin / positions, (end - 1) / positions};
}

// The sequence and the row of it that item `index` of a grid begins with, where sequence s has
// rows_of(s) rows in items of `width`. All lanes of a warp take part, 32 sequences at a time.
struct ItemPlace {
  std::int32_t sequence = -1;
  std::int32_t first_row = 0;
};
template <typename RowsOf>
__device__ inline ItemPlace find_item(std::int32_t num_sequences, std::int32_t index, int width,
                                      int lane, RowsOf&& rows_of) {
  std::int32_t before = 0;
  for (std::int32_t first = 0; first < num_sequences; first += 32) {
    const std::int32_t s = first + lane;
    const std::int32_t items = s < num_sequences ? (rows_of(s) + width - 1) / width : 0;
    std::int32_t sum = items;  // of this and the lanes before
    TANDEM_UNROLL
    for (int step = 1; step < 32; step *= 2) {
      const std::int32_t other = __shfl_up_sync(0xffffffffu, sum, static_cast<unsigned>(step));
      if (lane >= step) sum += other;
    }
    const bool mine = index >= before + sum - items && index < before + sum;
    const unsigned found = __ballot_sync(0xffffffffu, mine);
    if (found != 0) {
      const int owner = __ffs(static_cast<int>(found)) - 1;
      const std::int32_t item = __shfl_sync(0xffffffffu, index - before - (sum - items), owner);
      return {first + owner, item * width};
    }
    before += __shfl_sync(0xffffffffu, sum, 31);
  }
  return {};
}

// Tokens of split sequences before `sequence`. All lanes take part.
__device__ inline std::int32_t split_tokens_before(const AttentionBatch& batch,
                                                   std::int32_t sequence, int lane) {
  std::int32_t sum = 0;
  for (std::int32_t s = lane; s < sequence; s += 32) {
    if (is_split(batch, batch.sequences[s])) sum += batch.sequences[s].num_tokens;
  }
  TANDEM_UNROLL
  for (int step = 1; step < 32; step *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  return sum;
}

}  // namespace tandem::cuda
