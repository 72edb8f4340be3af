#pragma once

#include "device/cuda/matmul/product_batch.h"
#include "device/cuda/matmul/weight_codec.h"
#include "device/cuda/warp_mma.h"

// What the product kernels share: one block of columns of 16 rows of a weight times eight rows of
// x.
//
// Quantised types: the products of a block's int8 levels and codes are an exact integer D,
// |D| <= 32 * 128 * 127 < 2^22. Sums start at the bits of 1.5 * 2^23, so that read as a float and
// less that number they are D without a conversion (which has a quarter of the rate or less). Then,
// in the order of the blocks,
//
//   y = fma(D * scale, scale of x, y)                           one scale for 32 columns
//   y = fma(fma(D1, scale1, D0 * scale0), scale of x, y)        one for 16
//   y = fma(shift, sum of x's block, y)                         where there is a min (twice for 16)
//
// which depends on nothing but the row of x and the columns a warp takes.

namespace tandem::cuda {

inline constexpr std::int32_t kRounderBits = 0x4b400000;  // 1.5 * 2^23

template <ElementType kType>
struct BlockOperand {
  std::uint32_t a[4];
  typename WeightCodec<kType>::Factors factors;
};

// Of rows of x 2 t and 2 t + 1 of a tile, which a lane accumulates.
template <int kSubs>
struct XFactors {
  float scale[2];
  float sum[2][kSubs];
};

template <ElementType kType>
__device__ __forceinline__ void open_chunk(const typename WeightCodec<kType>::Codes& codes,
                                           const typename WeightCodec<kType>::Scales& scales,
                                           int chunk, BlockOperand<kType> (&blocks)[2]) {
  TANDEM_UNROLL
  for (int b = 0; b < 2; ++b) {
    WeightCodec<kType>::levels(codes, b, blocks[b].a);
    WeightCodec<kType>::factors(scales, chunk, b, blocks[b].factors);
  }
}

// acc: rows g, g, g + 8, g + 8 of the weight; rows of x 2 t, 2 t + 1, 2 t, 2 t + 1.
template <ElementType kType>
__device__ __forceinline__ void multiply_block(const BlockOperand<kType>& w, std::uint32_t b0,
                                               std::uint32_t b1,
                                               const XFactors<WeightCodec<kType>::kSubs>& x,
                                               float (&acc)[4]) {
  using Codec = WeightCodec<kType>;
  const std::uint32_t b[2] = {b0, b1};
  if constexpr (kType == ElementType::kF16) {
    mma_m16n8k16_f16(acc, w.a, b);
  } else if constexpr (kType == ElementType::kBF16) {
    mma_m16n8k16_bf16(acc, w.a, b);
  } else {
    const float rounder = __int_as_float(kRounderBits);
    float product[4];
    if constexpr (Codec::kSubs == 1) {
      std::int32_t d[4] = {kRounderBits, kRounderBits, kRounderBits, kRounderBits};
      mma_m16n8k32_s8(d, w.a, b);
      TANDEM_UNROLL
      for (int i = 0; i < 4; ++i) {
        product[i] = (__int_as_float(d[i]) - rounder) * w.factors.scale[i / 2][0];
      }
    } else {
      std::int32_t d0[4] = {kRounderBits, kRounderBits, kRounderBits, kRounderBits};
      std::int32_t d1[4] = {kRounderBits, kRounderBits, kRounderBits, kRounderBits};
      mma_m16n8k16_s8(d0, {w.a[0], w.a[1]}, b0);
      mma_m16n8k16_s8(d1, {w.a[2], w.a[3]}, b1);
      TANDEM_UNROLL
      for (int i = 0; i < 4; ++i) {
        product[i] = (__int_as_float(d0[i]) - rounder) * w.factors.scale[i / 2][0];
        product[i] = fmaf(__int_as_float(d1[i]) - rounder, w.factors.scale[i / 2][1], product[i]);
      }
    }
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      acc[i] = fmaf(product[i], x.scale[i % 2], acc[i]);
      if constexpr (Codec::kHasMin) {
        TANDEM_UNROLL
        for (int s = 0; s < Codec::kSubs; ++s) {
          acc[i] = fmaf(w.factors.shift[i / 2][s], x.sum[i % 2][s], acc[i]);
        }
      }
    }
  }
}

// Which target a group of 16 rows belongs to, and which rows of a batch a tile has.
__device__ __forceinline__ const ProductTarget& target_of(const ProductBatch& batch,
                                                          std::int32_t group) {
  int index = 0;
  for (int i = 1; i < batch.num_targets; ++i) {
    if (group >= batch.targets[i].first_group) index = i;
  }
  return batch.targets[index];
}

// The rows of x and y of one tile of a batch. The rows after the last are those of the first, so
// that loads need no guard; they are not stored.
struct TileRows {
  const std::int32_t* order;  // null: rows first, first + 1, ...
  std::int32_t first;
  std::int32_t count;
  std::int32_t divisor;
  std::int32_t expert;

  __device__ __forceinline__ std::int32_t y_row(int n) const {
    const int inside = n < count ? n : 0;
    return order == nullptr ? first + inside : order[first + inside];
  }
  __device__ __forceinline__ std::int32_t x_row(int n) const { return y_row(n) / divisor; }
};

// count = 0: nothing to do.
__device__ __forceinline__ TileRows tile_rows(const ProductBatch& batch, int tile, int width) {
  if (batch.tiles != nullptr) {
    if (tile >= *batch.num_tiles) return {nullptr, 0, 0, 1, 0};
    const ExpertTile& t = batch.tiles[tile];
    return {batch.order, t.begin, t.count, batch.x_divisor, t.expert};
  }
  if (batch.expert_ids != nullptr) {
    const std::int32_t expert = batch.expert_ids[tile] - batch.first_expert;
    const bool here = expert >= 0 && expert < batch.num_experts;
    return {nullptr, tile, 1, batch.x_divisor, here ? expert : -1};
  }
  const int left = batch.num_rows - tile * width;
  return {nullptr, tile * width, left < width ? left : width, 1, 0};
}

}  // namespace tandem::cuda
