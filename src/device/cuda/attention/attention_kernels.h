#pragma once

#include "device/cuda/attention/attention_tile.h"

namespace tandem::cuda {

inline constexpr int kAttentionWarps = 4;

// Floats that a warp leaves for another to add: 16 rows' sums, and two numbers a row and lane.
constexpr int left_floats(int wide) {
  return wide * 32 * 32 + 4 * 32;
}
// Bytes of dynamic shared memory. Queries are two halves a number; where a block has 16 rows, the
// sums that two warps leave take more.
constexpr std::size_t whole_shared_bytes(int wide) {
  return static_cast<std::size_t>(wide) * 64 * kWarpRows * 4 * kAttentionWarps;
}
constexpr std::size_t split_shared_bytes(int wide) {
  return static_cast<std::size_t>(left_floats(wide)) * sizeof(float) * kAttentionWarps / 2;
}

// A warp's part of the work: 16 rows, and which tiles of positions.
template <int kWide, ElementType kType>
__device__ __forceinline__ void attend(const AttentionBatch& batch, const DeviceSequence& sequence,
                                       std::int32_t kv_head, const RowRange& rows,
                                       std::int32_t begin, std::int32_t end, int first_tile,
                                       int tile_step, const uint4* queries, int lane,
                                       AttentionSums<kWide>& sums) {
  const KvRows<kType> keys{static_cast<const std::uint8_t*>(batch.k), batch.head_dim,
                           batch.block_tokens};
  const KvRows<kType> values{static_cast<const std::uint8_t*>(batch.v), batch.head_dim,
                             batch.block_tokens};
  const std::int32_t* table = batch.block_tables + sequence.first_block;
  const std::int32_t base = begin / kTilePositions;
  TANDEM_NO_UNROLL
  for (std::int32_t tile = base + first_tile; tile * kTilePositions < end; tile += tile_step) {
    // A lane finds one position's row. Those that no row sees are replaced by one that some row
    // does: their memory may never have been written, and 0 * NaN is NaN.
    std::int32_t position = tile * kTilePositions + lane;
    position = position < begin ? begin : (position >= end ? end - 1 : position);
    const std::int32_t block = table[position / batch.block_tokens];
    const std::int32_t own_row =
        (block * batch.num_kv_heads + kv_head) * batch.block_tokens + position % batch.block_tokens;
    float scores[4][4];
    score_tile<kWide, kType>(keys, own_row, queries, lane, scores);
    FragmentA p[2];
    soften<kWide>(scores, tile * kTilePositions, rows, batch.soft_cap, lane, sums, p);
    add_values<kWide, kType>(values, own_row, p, lane, sums);
  }
}

// What a warp's 16 rows from `first_row` see, together in [begin, end).
struct WarpRows {
  AttentionRow own[2];  // of this lane: rows g and g + 8
  RowRange range;
  std::int32_t begin;
  std::int32_t end;
};
__device__ __forceinline__ WarpRows warp_rows(const AttentionBatch& batch,
                                              const DeviceSequence& sequence, std::int32_t kv_head,
                                              std::int32_t first_row, int lane) {
  WarpRows rows;
  rows.begin = 0x7fffffff;
  rows.end = 0;
  TANDEM_UNROLL
  for (int h = 0; h < 2; ++h) {
    rows.own[h] = attention_row(batch, sequence, kv_head, first_row + lane / 4 + 8 * h);
    rows.range.begin[h] = rows.own[h].begin;
    rows.range.end[h] = rows.own[h].end;
    if (rows.own[h].head < 0) continue;
    rows.begin = min(rows.begin, rows.own[h].begin);
    rows.end = max(rows.end, rows.own[h].end);
  }
  TANDEM_UNROLL
  for (int step = 4; step < 32; step *= 2) {
    rows.begin = min(rows.begin, __shfl_xor_sync(0xffffffffu, rows.begin, step));
    rows.end = max(rows.end, __shfl_xor_sync(0xffffffffu, rows.end, step));
  }
  return rows;
}

template <int kWide>
__device__ __forceinline__ void stage_rows(const AttentionBatch& batch, const WarpRows& rows,
                                           int first_chunk, int chunk_step, int lane,
                                           uint4* queries) {
  const float* from[2];
  TANDEM_UNROLL
  for (int h = 0; h < 2; ++h) {
    const AttentionRow& row = rows.own[h];
    from[h] = row.head < 0 ? nullptr
                           : batch.q + row.token * batch.q_stride +
                                 static_cast<std::int64_t>(row.head) * batch.head_dim;
  }
  for (int chunk = first_chunk; chunk < 2 * kWide; chunk += chunk_step) {
    stage_queries(from, batch.scale, batch.head_dim, chunk, lane, queries + chunk * 128);
  }
}

// The sum of a row's probabilities over the four lanes that hold it.
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// Writes out[h], times factor, of a lane to the numbers of a head at `to`.
template <int kWide>
__device__ __forceinline__ void store_row(const AttentionSums<kWide>& sums, int h, float factor,
                                          int head_dim, int lane, float* to) {
  TANDEM_UNROLL
  for (int b = 0; b < kWide; ++b) {
    TANDEM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int column = 64 * b + 16 * (lane % 4) + 8 * half;
      if (column >= head_dim) continue;
      TANDEM_UNROLL
      for (int j = 0; j < 8; ++j) to[column + j] = sums.out[8 * b + j][2 * h + half] * factor;
    }
  }
}

// Prefill. Grid: [tiles of 64 rows, KV heads]; a warp has 16 rows and all they see.
template <int kWide, ElementType kType>
__global__ void __launch_bounds__(32 * kAttentionWarps) attend_whole(AttentionBatch batch) {
  TANDEM_DYNAMIC_SHARED(uint4, shared);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const auto kv_head = static_cast<std::int32_t>(blockIdx.y);
  const ItemPlace place = find_item(
      batch.num_sequences, static_cast<std::int32_t>(blockIdx.x), 16 * kAttentionWarps, lane,
      [&](std::int32_t s) {
        const DeviceSequence& sequence = batch.sequences[s];
        return is_split(batch, sequence) ? 0 : sequence.num_tokens * batch.q_heads_per_kv_head;
      });
  if (place.sequence < 0) return;
  const DeviceSequence& sequence = batch.sequences[place.sequence];
  const WarpRows rows =
      warp_rows(batch, sequence, kv_head, place.first_row + kWarpRows * warp, lane);
  if (rows.end <= rows.begin) return;
  uint4* queries = shared + warp * kWide * 256;
  stage_rows<kWide>(batch, rows, 0, 1, lane, queries);
  __syncwarp();
  AttentionSums<kWide> sums;
  sums.clear();
  attend<kWide, kType>(batch, sequence, kv_head, rows.range, rows.begin, rows.end, 0, 1, queries,
                       lane, sums);
  TANDEM_UNROLL
  for (int h = 0; h < 2; ++h) {
    const float factor = 1.0f / quad_sum(sums.sum[h]);
    const AttentionRow& row = rows.own[h];
    if (row.head < 0) continue;
    store_row<kWide>(sums, h, factor, batch.head_dim, lane,
                     batch.out + row.token * batch.out_stride +
                         static_cast<std::int64_t>(row.head) * batch.head_dim);
  }
}

// Adds another warp's sums over the same rows, which lie in shared memory as it left them.
template <int kWide>
__device__ __forceinline__ void merge_sums(const float* other, int lane,
                                           AttentionSums<kWide>& sums) {
  const float* scalars = other + kWide * 32 * 32;
  float own_factor[2], other_factor[2];
  TANDEM_UNROLL
  for (int h = 0; h < 2; ++h) {
    const float other_largest = scalars[h * 32 + lane];
    const float largest = fmaxf(sums.largest[h], other_largest);
    const float base = largest == kNoScore ? 0.0f : largest;
    own_factor[h] = exp2f((sums.largest[h] - base) * kLog2E);
    other_factor[h] = exp2f((other_largest - base) * kLog2E);
    sums.largest[h] = largest;
    sums.sum[h] = sums.sum[h] * own_factor[h] + scalars[(2 + h) * 32 + lane] * other_factor[h];
  }
  TANDEM_UNROLL
  for (int j = 0; j < kWide * 8; ++j) {
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      sums.out[j][i] =
          sums.out[j][i] * own_factor[i / 2] + other[(4 * j + i) * 32 + lane] * other_factor[i / 2];
    }
  }
}
template <int kWide>
__device__ __forceinline__ void leave_sums(const AttentionSums<kWide>& sums, int lane, float* to) {
  TANDEM_UNROLL
  for (int j = 0; j < kWide * 8; ++j) {
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) to[(4 * j + i) * 32 + lane] = sums.out[j][i];
  }
  TANDEM_UNROLL
  for (int h = 0; h < 2; ++h) {
    to[kWide * 32 * 32 + h * 32 + lane] = sums.largest[h];
    to[kWide * 32 * 32 + (2 + h) * 32 + lane] = sums.sum[h];
  }
}
// Decode. Grid: [tiles of 16 rows, KV heads, splits]; the warps of a block share the positions of a
// split (which begin at multiples of their size), and of what they sum, as a tree, warp 0
// gets all.
template <int kWide, ElementType kType>
__global__ void __launch_bounds__(32 * kAttentionWarps) attend_split(AttentionBatch batch) {
  TANDEM_DYNAMIC_SHARED(uint4, shared);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const auto kv_head = static_cast<std::int32_t>(blockIdx.y);
  const ItemPlace place = find_item(
      batch.num_sequences, static_cast<std::int32_t>(blockIdx.x), kWarpRows, lane,
      [&](std::int32_t s) {
        const DeviceSequence& sequence = batch.sequences[s];
        return is_split(batch, sequence) ? sequence.num_tokens * batch.q_heads_per_kv_head : 0;
      });
  if (place.sequence < 0) return;
  const DeviceSequence& sequence = batch.sequences[place.sequence];
  const WarpRows rows = warp_rows(batch, sequence, kv_head, place.first_row, lane);
  if (rows.end <= rows.begin) return;
  const std::int32_t positions = split_positions(sequence.context_tokens);
  const std::int32_t split = rows.begin / positions + static_cast<std::int32_t>(blockIdx.z);
  const std::int32_t begin = max(rows.begin, split * positions);
  const std::int32_t end = min(rows.end, (split + 1) * positions);
  if (begin >= end) return;

  stage_rows<kWide>(batch, rows, warp, kAttentionWarps, lane, shared);
  __syncthreads();
  AttentionSums<kWide> sums;
  sums.clear();
  attend<kWide, kType>(batch, sequence, kv_head, rows.range, begin, end, warp, kAttentionWarps,
                       shared, lane, sums);
  auto* left = reinterpret_cast<float*>(shared);
  TANDEM_UNROLL
  for (int step = kAttentionWarps / 2; step > 0; step /= 2) {
    __syncthreads();
    if (warp >= step && warp < 2 * step) {
      leave_sums<kWide>(sums, lane, left + (warp - step) * left_floats(kWide));
    }
    __syncthreads();
    if (warp < step) merge_sums<kWide>(left + warp * left_floats(kWide), lane, sums);
  }
  if (warp != 0) return;
  const std::int32_t tokens_before = split_tokens_before(batch, place.sequence, lane);
  TANDEM_UNROLL
  for (int h = 0; h < 2; ++h) {
    const float sum = quad_sum(sums.sum[h]);
    const AttentionRow& row = rows.own[h];
    if (row.head < 0) continue;
    const SplitRange splits = splits_of(row.begin, row.end, positions);
    if (split < splits.first || split > splits.last) continue;
    if (splits.first == splits.last) {
      store_row<kWide>(sums, h, 1.0f / sum, batch.head_dim, lane,
                       batch.out + row.token * batch.out_stride +
                           static_cast<std::int64_t>(row.head) * batch.head_dim);
      continue;
    }
    const std::int64_t token = tokens_before + row.token - sequence.first_token;
    const std::int64_t index = token * batch.num_q_heads + row.head;
    float* part =
        batch.parts + (index * batch.max_splits + split - splits.first) * (2 + batch.head_dim);
    store_row<kWide>(sums, h, 1.0f, batch.head_dim, lane, part + 2);
    if (lane % 4 == 0) part[0] = sums.largest[h];
    if (lane % 4 == 0) part[1] = sum;
  }
}

template <int kWide, ElementType kType>
cudaError_t start_attention(cudaStream_t stream, const AttentionBatch& batch,
                            const AttentionGrid& grid) {
  const auto heads = static_cast<unsigned>(batch.num_kv_heads);
  const dim3 block(32 * kAttentionWarps);
  if (grid.split_tiles > 0) {
    const LaunchShape shape{dim3(static_cast<unsigned>(grid.split_tiles), heads,
                                 static_cast<unsigned>(grid.num_splits)),
                            block, split_shared_bytes(kWide)};
    const cudaError_t error = launch(stream, attend_split<kWide, kType>, shape, batch);
    if (error != cudaSuccess) return error;
  }
  if (grid.whole_tiles == 0) return cudaSuccess;
  const LaunchShape shape{dim3(static_cast<unsigned>(grid.whole_tiles), heads), block,
                          whole_shared_bytes(kWide)};
  return launch(stream, attend_whole<kWide, kType>, shape, batch);
}

}  // namespace tandem::cuda
