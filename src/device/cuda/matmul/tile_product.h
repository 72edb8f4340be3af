#pragma once

#include "device/cuda/matmul/product_step.h"

namespace tandem::cuda {

// Many rows of x: prefill, and batches that decode together. A block of four warps computes 128
// rows of the weight (32 a warp) by 64 rows of x. Weights go from memory to registers, where each
// chunk is taken apart once for 64 rows of x; rounded rows of x go through shared memory, stages of
// four chunks, the next one copied (cp.async, where there is one) while this one is multiplied.
//
// The limit. An mma.m16n8k32 of a warp makes four sums a lane, and each costs a subtraction, a
// product and a fused multiply-add (two with a min): 12 to 16 float instructions for 4096
// multiply-adds, which is what scales of 32 columns cost, and 20 where blocks have 16 columns. See
// docs/performance.md for what that makes of each architecture's rate.
//
// Products are summed column after column, whatever the number of rows: a row of x gives the same
// bits in any batch that takes this kernel. Sums of split_product are added in another order.

inline constexpr int kTileWarps = 4;
inline constexpr int kTileGroups = 2;  // of 16 rows, a warp
inline constexpr int kTileBlockGroups = kTileWarps * kTileGroups;
inline constexpr int kTileColumns = 64;  // rows of x
inline constexpr int kStageChunks = 4;
inline constexpr int kStageBlocks = 2 * kStageChunks;

// A stage of rounded rows in shared memory.
template <ElementType kType>
struct TileStage {
  using Codec = WeightCodec<kType>;
  static constexpr int kSumRows = !Codec::kHasMin ? 0 : kStageBlocks * Codec::kSubs;
  static constexpr int kScaleRows = Codec::kHalves ? 0 : kStageBlocks;
  static constexpr int kCodeBytes = kStageChunks * kTileColumns * kChunkBytes;
  static constexpr int kBytes = kCodeBytes + (kScaleRows + kSumRows) * kTileColumns * 4;

  std::uint8_t* codes;  // [chunk][row of x][64]
  float* scales;        // [block][row of x]
  float* sums;          // [block][sub-block][row of x]

  __device__ __forceinline__ explicit TileStage(std::uint8_t* memory)
      : codes(memory),
        scales(reinterpret_cast<float*>(memory + kCodeBytes)),
        sums(scales + kScaleRows * kTileColumns) {}

  // Copies [rows of the stage][64] floats from `from`, whose rows are row_pad apart.
  __device__ __forceinline__ static void copy_floats(const float* from, int num_rows,
                                                     std::int32_t row_pad,
                                                     const std::int32_t* x_rows, bool in_order,
                                                     float* to) {
    if (in_order) {
      for (int i = static_cast<int>(threadIdx.x); i < num_rows * (kTileColumns / 4);
           i += 32 * kTileWarps) {
        const int row = i / (kTileColumns / 4), part = i % (kTileColumns / 4);
        cp_async_16(to + 4 * i,
                    from + static_cast<std::int64_t>(row) * row_pad + x_rows[0] + 4 * part);
      }
    } else {
      for (int i = static_cast<int>(threadIdx.x); i < num_rows * kTileColumns;
           i += 32 * kTileWarps) {
        to[i] =
            from[static_cast<std::int64_t>(i / kTileColumns) * row_pad + x_rows[i % kTileColumns]];
      }
    }
  }

  // Starts copying stage `stage` of x. x_rows: [64] in shared memory; in_order: they follow one
  // another, from a multiple of 64.
  __device__ __forceinline__ void copy(const RoundedX& x, int stage, int num_chunks,
                                       const std::int32_t* x_rows, bool in_order) const {
    const int first = stage * kStageChunks;
    const int count = num_chunks - first < kStageChunks ? num_chunks - first : kStageChunks;
    for (int i = static_cast<int>(threadIdx.x); i < count * kTileColumns * 4;
         i += 32 * kTileWarps) {
      const int chunk = i / (kTileColumns * 4), n = i / 4 % kTileColumns;
      const std::int64_t row = static_cast<std::int64_t>(first + chunk) * x.row_pad + x_rows[n];
      cp_async_16(codes + 16 * i, x.codes + row * kChunkBytes + 16 * (i % 4));
    }
    if constexpr (!Codec::kHalves) {
      const std::int64_t at = static_cast<std::int64_t>(2 * first) * x.row_pad;
      copy_floats(x.scales + at, 2 * count, x.row_pad, x_rows, in_order, scales);
      if constexpr (Codec::kHasMin) {
        const float* from = Codec::kSubs == 1 ? x.sums + at : x.half_sums + 2 * at;
        copy_floats(from, 2 * count * Codec::kSubs, x.row_pad, x_rows, in_order, sums);
      }
    }
    cp_async_commit();
  }

  __device__ __forceinline__ void factors(int block, int n, XFactors<Codec::kSubs>& f) const {
    if constexpr (!Codec::kHalves) {
      const float2 scale = *reinterpret_cast<const float2*>(scales + block * kTileColumns + n);
      f.scale[0] = scale.x, f.scale[1] = scale.y;
      if constexpr (Codec::kHasMin) {
        TANDEM_UNROLL
        for (int s = 0; s < Codec::kSubs; ++s) {
          const float2 sum = *reinterpret_cast<const float2*>(
              sums + (block * Codec::kSubs + s) * kTileColumns + n);
          f.sum[0][s] = sum.x, f.sum[1][s] = sum.y;
        }
      }
    }
  }
};

// A chunk of a warp's 32 rows of the weight, still packed.
template <ElementType kType>
struct PackedRows {
  using Codec = WeightCodec<kType>;
  typename Codec::Codes codes[kTileGroups];
  typename Codec::Scales scales[kTileGroups];

  __device__ __forceinline__ void load(const std::uint8_t* const (&groups)[kTileGroups], int chunk,
                                       int lane) {
    constexpr int kUnitChunks = Codec::kTraits.chunks;
    const std::int64_t unit = static_cast<std::int64_t>(chunk / kUnitChunks) * Codec::kUnitBytes;
    TANDEM_UNROLL
    for (int i = 0; i < kTileGroups; ++i) {
      Codec::load_codes(groups[i] + unit, chunk % kUnitChunks, lane, codes[i]);
      Codec::load_scales(groups[i] + unit, chunk % kUnitChunks, lane, scales[i]);
    }
  }
};

template <ElementType kType>
__device__ __forceinline__ void multiply_tile_chunk(
    const PackedRows<kType>& packed, int chunk, const TileStage<kType>& stage, int lane,
    float (&acc)[kTileGroups][kTileColumns / 8][4]) {
  constexpr int kUnitChunks = WeightCodec<kType>::kTraits.chunks;
  const int stage_chunk = chunk % kStageChunks;
  BlockOperand<kType> blocks[kTileGroups][2];
  TANDEM_UNROLL
  for (int i = 0; i < kTileGroups; ++i) {
    open_chunk<kType>(packed.codes[i], packed.scales[i], chunk % kUnitChunks, blocks[i]);
  }
  const auto* operands =
      reinterpret_cast<const uint4*>(stage.codes + stage_chunk * kTileColumns * kChunkBytes) + lane;
  TANDEM_UNROLL
  for (int tile = 0; tile < kTileColumns / 8; ++tile) {
    const uint4 b = operands[32 * tile];
    XFactors<WeightCodec<kType>::kSubs> factors;
    stage.factors(2 * stage_chunk, 8 * tile + 2 * (lane % 4), factors);
    TANDEM_UNROLL
    for (int i = 0; i < kTileGroups; ++i) {
      multiply_block<kType>(blocks[i][0], b.x, b.y, factors, acc[i][tile]);
    }
    stage.factors(2 * stage_chunk + 1, 8 * tile + 2 * (lane % 4), factors);
    TANDEM_UNROLL
    for (int i = 0; i < kTileGroups; ++i) {
      multiply_block<kType>(blocks[i][1], b.z, b.w, factors, acc[i][tile]);
    }
  }
}

// Stores a warp's sums of one group of 16 rows.
template <ElementType kType>
__device__ __forceinline__ void store_group(const ProductBatch& batch, const ProductTarget& target,
                                            std::int32_t first_row, const TileRows& rows, int lane,
                                            const float (&acc)[kTileColumns / 8][4]) {
  TANDEM_UNROLL
  for (int tile = 0; tile < kTileColumns / 8; ++tile) {
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int n = 8 * tile + 2 * (lane % 4) + i % 2;
      const std::int32_t row = first_row + lane / 4 + 8 * (i / 2);
      if (n >= rows.count || row >= target.rows) continue;
      float sum = acc[tile][i];
      if constexpr (WeightCodec<kType>::kHalves) sum *= batch.x.scales[rows.x_row(n)];
      if (target.bias != nullptr) sum += target.bias[row];
      target.y[rows.y_row(n) * target.y_stride + row] = sum;
    }
  }
}

// Grid: [tiles of 64 rows of x, groups of all targets / 8]. Dynamic shared memory: two stages and
// the rows' numbers.
template <ElementType kType>
__global__ void __launch_bounds__(32 * kTileWarps, 2) tile_product(ProductBatch batch) {
  TANDEM_DYNAMIC_SHARED(std::uint8_t, shared);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const TileRows rows = tile_rows(batch, static_cast<int>(blockIdx.x), kTileColumns);
  if (rows.count <= 0) return;
  auto* x_rows = reinterpret_cast<std::int32_t*>(shared + 2 * TileStage<kType>::kBytes);
  const bool in_order = rows.order == nullptr && rows.divisor == 1;
  if (threadIdx.x < kTileColumns) {
    const int n = static_cast<int>(threadIdx.x);
    x_rows[n] = in_order ? rows.first + n : rows.x_row(n);
  }
  __syncthreads();

  const std::uint8_t* weights[kTileGroups];
  std::int32_t groups[kTileGroups];
  TANDEM_UNROLL
  for (int i = 0; i < kTileGroups; ++i) {
    groups[i] = (static_cast<std::int32_t>(blockIdx.y) * kTileWarps + warp) * kTileGroups + i;
    // Groups after the last compute the last once more and are not stored.
    const std::int32_t group = groups[i] < batch.num_groups ? groups[i] : batch.num_groups - 1;
    const ProductTarget& target = target_of(batch, group);
    const std::int32_t expert = rows.expert < 0 ? 0 : rows.expert;
    weights[i] = target.weight + expert * target.expert_bytes +
                 (group - target.first_group) * batch.group_bytes;
  }

  float acc[kTileGroups][kTileColumns / 8][4] = {};
  const int num_chunks = rows.expert < 0 ? 0 : batch.num_chunks;
  const int num_stages = (num_chunks + kStageChunks - 1) / kStageChunks;
  PackedRows<kType> packed, next;
  if (num_stages > 0) {
    TileStage<kType>(shared).copy(batch.x, 0, num_chunks, x_rows, in_order);
    packed.load(weights, 0, lane);
  }
  TANDEM_NO_UNROLL
  for (int stage = 0; stage < num_stages; ++stage) {
    const TileStage<kType> current(shared + stage % 2 * TileStage<kType>::kBytes);
    if (stage + 1 < num_stages) {
      const TileStage<kType> other(shared + (stage + 1) % 2 * TileStage<kType>::kBytes);
      other.copy(batch.x, stage + 1, num_chunks, x_rows, in_order);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();
    const int end =
        (stage + 1) * kStageChunks < num_chunks ? (stage + 1) * kStageChunks : num_chunks;
    TANDEM_NO_UNROLL
    for (int chunk = stage * kStageChunks; chunk < end; ++chunk) {
      if (chunk + 1 < num_chunks) next.load(weights, chunk + 1, lane);
      multiply_tile_chunk<kType>(packed, chunk, current, lane, acc);
      packed = next;
    }
    __syncthreads();  // before this stage is overwritten
  }
  TANDEM_UNROLL
  for (int i = 0; i < kTileGroups; ++i) {
    if (groups[i] >= batch.num_groups) continue;
    const ProductTarget& target = target_of(batch, groups[i]);
    const std::int32_t first_row = (groups[i] - target.first_group) * kGroupRows;
    store_group<kType>(batch, target, first_row, rows, lane, acc[i]);
  }
}

template <ElementType kType>
cudaError_t launch_tile_product(cudaStream_t stream, const ProductBatch& batch, int column_tiles) {
  const int blocks = (batch.num_groups + kTileBlockGroups - 1) / kTileBlockGroups;
  const LaunchShape shape{dim3(static_cast<unsigned>(column_tiles), static_cast<unsigned>(blocks)),
                          dim3(32 * kTileWarps),
                          2 * TileStage<kType>::kBytes + kTileColumns * sizeof(std::int32_t)};
  return launch(stream, tile_product<kType>, shape, batch);
}

}  // namespace tandem::cuda
