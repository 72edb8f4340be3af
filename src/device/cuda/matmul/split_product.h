#pragma once

#include "device/cuda/matmul/product_step.h"

namespace tandem::cuda {

// Few rows of x: decoding, which is bound by reading the weight once. The columns of 16 rows of the
// weight are shared out to eight slices in steps of four chunks (step s is slice s % 8's), so that
// together they read one stretch of memory; the slices' sums are added in order. A block of threads
// computes 16 rows with up to 8 rows of x, a warp a slice; or 32 rows with up to 32 rows of x, a
// warp two slices of 16 rows, so that two warps read the same part of x at the same time and one of
// them finds it in the L1 cache.
//
// A warp has the loads of two steps in flight: 2 * 4 chunks of 512 to 1024 bytes, 4 to 8 KiB, which
// is 32 to 64 KiB for a block, and a GPU needs bandwidth * latency = 3.35 TB/s * 700 ns / 132 SMs =
// 18 KiB on each SM (H100 SXM). Of x, one row is 1/7 of what the block reads of a 4-bit weight,
// eight rows are as much, and 32 rows twice as much, from the L2 cache.

inline constexpr int kSlices = 8;  // and warps of a block
inline constexpr int kStepChunks = 4;
// Groups of 16 rows of a block.
constexpr int split_groups(int tiles) {
  return tiles == 1 ? 1 : 2;
}

// A step of one group, still packed.
template <ElementType kType>
struct PackedStep {
  using Codec = WeightCodec<kType>;
  static constexpr int kUnitChunks = Codec::kTraits.chunks;
  typename Codec::Codes codes[kStepChunks];
  typename Codec::Scales scales[Codec::kSharesScales ? 1 : kStepChunks];

  // Words that are the unit's are those of its first chunk, so that the others' are not kept.
  __device__ __forceinline__ typename Codec::Scales scales_of(int c) const {
    typename Codec::Scales result = scales[Codec::kSharesScales ? 0 : c];
    if constexpr (Codec::kSubs == 2) {
      TANDEM_UNROLL
      for (int i = 2; i < Codec::kScaleWords; ++i) result.words[i] = scales[0].words[i];
    }
    return result;
  }
  __device__ __forceinline__ void load(const std::uint8_t* group, int step, int num_chunks,
                                       int lane) {
    TANDEM_UNROLL
    for (int c = 0; c < kStepChunks; ++c) {
      const int chunk = step * kStepChunks + c;
      if (kUnitChunks == 1 && chunk >= num_chunks) continue;
      const std::uint8_t* unit =
          group + static_cast<std::int64_t>(chunk / kUnitChunks) * Codec::kUnitBytes;
      Codec::load_codes(unit, c % kUnitChunks, lane, codes[c]);
      if (!Codec::kSharesScales || c == 0) {
        Codec::load_scales(unit, c % kUnitChunks, lane, scales[c]);
      }
    }
  }
};

// What a lane reads of x.
template <ElementType kType, int kTiles>
struct XReader {
  using Codec = WeightCodec<kType>;
  const RoundedX& x;
  std::int32_t operand_row[kTiles];   // of lane g: row g of each tile
  std::int32_t scale_row[kTiles][2];  // rows 2 t, 2 t + 1

  __device__ __forceinline__ XReader(const RoundedX& rounded, const TileRows& rows, int lane)
      : x(rounded) {
    TANDEM_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      operand_row[tile] = rows.x_row(8 * tile + lane / 4);
      scale_row[tile][0] = rows.x_row(8 * tile + 2 * (lane % 4));
      scale_row[tile][1] = rows.x_row(8 * tile + 2 * (lane % 4) + 1);
    }
  }
  __device__ __forceinline__ uint4 operands(int chunk, int tile, int lane) const {
    // In units of 16 bytes 32 bits are enough, and there are half as many instructions.
    const std::int32_t row = chunk * x.row_pad + operand_row[tile];
    return __ldg(reinterpret_cast<const uint4*>(x.codes) + (4 * row + lane % 4));
  }
  __device__ __forceinline__ void factors(int block, int tile,
                                          XFactors<Codec::kSubs>& factors) const {
    if constexpr (!Codec::kHalves) {
      const std::int32_t at = block * x.row_pad;
      TANDEM_UNROLL
      for (int i = 0; i < 2; ++i) {
        const std::int32_t row = scale_row[tile][i];
        factors.scale[i] = __ldg(x.scales + (at + row));
        if constexpr (Codec::kHasMin && Codec::kSubs == 1) {
          factors.sum[i][0] = __ldg(x.sums + (at + row));
        } else if constexpr (Codec::kHasMin) {
          factors.sum[i][0] = __ldg(x.half_sums + (2 * at + row));
          factors.sum[i][1] = __ldg(x.half_sums + (2 * at + x.row_pad + row));
        }
      }
    }
  }
};

// One step's products.
template <ElementType kType, int kTiles>
__device__ __forceinline__ void multiply_step(const PackedStep<kType>& packed, int step,
                                              int num_chunks, int lane,
                                              const XReader<kType, kTiles>& x,
                                              float (&acc)[kTiles][4]) {
  TANDEM_UNROLL
  for (int c = 0; c < kStepChunks; ++c) {
    const int chunk = step * kStepChunks + c;
    if (WeightCodec<kType>::kTraits.chunks == 1 && chunk >= num_chunks) continue;
    BlockOperand<kType> blocks[2];
    open_chunk<kType>(packed.codes[c], packed.scales_of(c), c % WeightCodec<kType>::kTraits.chunks,
                      blocks);
    TANDEM_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const uint4 operands = x.operands(chunk, tile, lane);
      XFactors<WeightCodec<kType>::kSubs> factors;
      x.factors(2 * chunk, tile, factors);
      multiply_block<kType>(blocks[0], operands.x, operands.y, factors, acc[tile]);
      x.factors(2 * chunk + 1, tile, factors);
      multiply_block<kType>(blocks[1], operands.z, operands.w, factors, acc[tile]);
    }
  }
}

// One slice's sums: of a group, over steps slice, slice + kSlices, ...
template <ElementType kType, int kTiles>
__device__ __forceinline__ void multiply_slice(const std::uint8_t* weight, int slice,
                                               int num_chunks, int lane,
                                               const XReader<kType, kTiles>& x,
                                               float (&acc)[kTiles][4]) {
  const int num_steps = (num_chunks + kStepChunks - 1) / kStepChunks;
  PackedStep<kType> packed, next;
  packed.load(weight, slice, num_chunks, lane);
  TANDEM_NO_UNROLL
  for (int step = slice; step < num_steps; step += kSlices) {
    const int later = step + kSlices;
    if (later < num_steps) next.load(weight, later, num_chunks, lane);
    multiply_step<kType, kTiles>(packed, step, num_chunks, lane, x, acc);
    packed = next;
  }
}

// A lane's sums of one slice to sums: [row of x][16 rows of the weight].
template <int kTiles>
__device__ __forceinline__ void keep_sums(const float (&acc)[kTiles][4], int lane, float* sums) {
  TANDEM_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int n = 8 * tile + 2 * (lane % 4) + i % 2;
      sums[n * kGroupRows + lane / 4 + 8 * (i / 2)] = acc[tile][i];
    }
  }
}

// One result of a target: row `row` of the weight times row n of the tile.
// sums: [slice][row of x][16 rows of the weight] of one group; index: of the result in a slice.
template <ElementType kType, int kTiles>
__device__ __forceinline__ float add_slices(const ProductBatch& batch, const ProductTarget& target,
                                            std::int32_t row, int num_slices, const TileRows& rows,
                                            int index, const float* sums) {
  float sum = 0.0f;
  if (rows.expert >= 0) {
    for (int slice = 0; slice < num_slices; ++slice) sum += sums[slice * kTiles * 128 + index];
  }
  if constexpr (WeightCodec<kType>::kHalves) sum *= batch.x.scales[rows.x_row(index / kGroupRows)];
  if (target.bias != nullptr) sum += target.bias[row];
  return sum;
}

template <ElementType kType, int kTiles>
__device__ __forceinline__ void store_sums(const ProductBatch& batch, std::int32_t group,
                                           int num_slices, const TileRows& rows, int index,
                                           const float* sums) {
  const ProductTarget& target = target_of(batch, group);
  const int n = index / kGroupRows;
  const std::int32_t row = (group - target.first_group) * kGroupRows + index % kGroupRows;
  if (n >= rows.count || row >= target.rows) return;
  target.y[rows.y_row(n) * target.y_stride + row] =
      add_slices<kType, kTiles>(batch, target, row, num_slices, rows, index, sums);
}

// Grid: [tiles of 8 * kTiles rows of x, groups of all targets / split_groups]: neighbours share the
// weight's rows. num_slices: kSlices, or as many as there are steps.
template <ElementType kType, int kTiles>
__global__ void __launch_bounds__(32 * kSlices, kTiles == 1 ? 2 : 1)
    split_product(ProductBatch batch, int num_slices) {
  constexpr int kGroups = split_groups(kTiles);
  TANDEM_DYNAMIC_SHARED(float, shared);  // [group][slice][row of x][16]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const auto first_group = static_cast<std::int32_t>(blockIdx.y) * kGroups;
  const TileRows rows = tile_rows(batch, static_cast<int>(blockIdx.x), 8 * kTiles);
  if (rows.count <= 0) return;

  const std::int32_t group = first_group + warp % kGroups;
  if (rows.expert >= 0 && group < batch.num_groups) {
    const ProductTarget& target = target_of(batch, group);
    const std::uint8_t* weight = target.weight + rows.expert * target.expert_bytes +
                                 (group - target.first_group) * batch.group_bytes;
    const XReader<kType, kTiles> x(batch.x, rows, lane);
    TANDEM_NO_UNROLL
    for (int slice = warp / kGroups; slice < num_slices; slice += kSlices / kGroups) {
      float acc[kTiles][4] = {};
      multiply_slice<kType, kTiles>(weight, slice, batch.num_chunks, lane, x, acc);
      keep_sums(acc, lane, shared + (warp % kGroups * num_slices + slice) * kTiles * 128);
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kGroups * kTiles * 128;
       i += static_cast<int>(blockDim.x)) {
    const int own = i / (kTiles * 128);
    if (first_group + own >= batch.num_groups) continue;
    store_sums<kType, kTiles>(batch, first_group + own, num_slices, rows, i % (kTiles * 128),
                              shared + own * num_slices * kTiles * 128);
  }
}

template <ElementType kType, int kTiles>
cudaError_t launch_split_product(cudaStream_t stream, const ProductBatch& batch, int column_tiles) {
  constexpr int kGroups = split_groups(kTiles);
  const int num_steps = (batch.num_chunks + kStepChunks - 1) / kStepChunks;
  const int num_slices = num_steps < kSlices ? num_steps : kSlices;
  const LaunchShape shape{
      dim3(static_cast<unsigned>(column_tiles),
           static_cast<unsigned>((batch.num_groups + kGroups - 1) / kGroups)),
      dim3(static_cast<unsigned>(32 * (kGroups == 1 ? num_slices : kSlices))),
      static_cast<std::size_t>(kGroups * num_slices * kTiles * 128) * sizeof(float)};
  return launch(stream, split_product<kType, kTiles>, shape, batch, num_slices);
}

}  // namespace tandem::cuda
