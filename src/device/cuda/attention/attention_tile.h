#pragma once

#include "device/cuda/attention/attention_batch.h"
#include "device/cuda/attention/kv_rows.h"
#include "device/cuda/matmul/unroll.h"
#include "device/cuda/warp_mma.h"

// Attention of 16 rows by one warp, with an online softmax on tensor cores (Dao,
// "FlashAttention-2", 2023). A row is a (query, query head) pair of one KV head, flattened with the
// heads inside, so that all heads that share a KV head read it together and any ratio fills the
// rows.
//
// Keys and values go from memory straight to mma operands, 16 bytes a lane. That takes two choices
// of which column of a product is which number of a head (lane = 4 g + t):
//
//   scores = Q K^T    step s of chunk c (32 numbers of a head): operand column k is number
//                     32 c + 8 t + 4 s + {0, 1} (k = 2t, 2t+1) and + {2, 3} (k = 2t+8, 2t+9);
//                     K's operand is then 16 bytes of one key, Q is laid out to match
//   out = P V         operand column g of product j is number 64 b + 8 g + j; the numbers of two
//                     values, 16 bytes each, pair up to operands of eight products
//
// Queries are float32 and are kept as two float16 (the value and what rounding left), so that
// scores have the precision of float32 sums over the cache's numbers. Probabilities are rounded to
// float16.

namespace tandem::cuda {

inline constexpr int kTilePositions = 32;
inline constexpr int kWarpRows = 16;

// Of a warp's 16 rows, those of a lane: g (0) and g + 8 (1).
struct RowRange {
  std::int32_t begin[2];  // the first position that the row sees
  std::int32_t end[2];    // after the last; begin = end: a row that is none
};

// kWide: numbers of a head / 64, rounded up.
template <int kWide>
struct AttentionSums {
  float out[kWide * 8][4];  // [64 b + j]: rows g, g, g + 8, g + 8; numbers 64 b + 16 t + {0, 8} + j
  float largest[2];
  float sum[2];  // this lane's part

  __device__ __forceinline__ void clear() {
    TANDEM_UNROLL
    for (int j = 0; j < kWide * 8; ++j) {
      TANDEM_UNROLL
      for (int i = 0; i < 4; ++i) out[j][i] = 0.0f;
    }
    largest[0] = largest[1] = kNoScore;
    sum[0] = sum[1] = 0.0f;
  }
};

__device__ __forceinline__ std::uint32_t pack_halves(float low, float high) {
  return __half_as_ushort(__float2half(low)) |
         static_cast<std::uint32_t>(__half_as_ushort(__float2half(high))) << 16;
}
__device__ __forceinline__ float left_after_half(float x) {
  return x - __half2float(__float2half(x));
}

// Writes a warp's 16 rows of queries to shared memory as operands, for one chunk of 32 numbers:
// [step][value, rest][lane] of 16 bytes. `row`: row g (0) or g + 8 (1) of q, or null for zeroes.
__device__ __forceinline__ void stage_queries(const float* const (&row)[2], float scale,
                                              int head_dim, int chunk, int lane, uint4* operands) {
  TANDEM_UNROLL
  for (int s = 0; s < 2; ++s) {
    std::uint32_t value[4], rest[4];
    TANDEM_UNROLL
    for (int r = 0; r < 4; ++r) {
      const int column = 32 * chunk + 8 * (lane % 4) + 4 * s + 2 * (r / 2);
      float x[2];
      TANDEM_UNROLL
      for (int i = 0; i < 2; ++i) {
        const bool there = row[r % 2] != nullptr && column + i < head_dim;
        x[i] = there ? row[r % 2][column + i] * scale : 0.0f;
      }
      value[r] = pack_halves(x[0], x[1]);
      rest[r] = pack_halves(left_after_half(x[0]), left_after_half(x[1]));
    }
    operands[64 * s + lane] = make_uint4(value[0], value[1], value[2], value[3]);
    operands[64 * s + 32 + lane] = make_uint4(rest[0], rest[1], rest[2], rest[3]);
  }
}

// scores[j]: of positions 8 j + 2 t + {0, 1} of the tile, for the lane's two rows.
template <int kWide, ElementType kType>
__device__ __forceinline__ void score_tile(const KvRows<kType>& keys, std::int32_t own_row,
                                           const uint4* queries, int lane, float (&scores)[4][4]) {
  std::int32_t key[4];
  TANDEM_UNROLL
  for (int j = 0; j < 4; ++j) {
    key[j] = __shfl_sync(0xffffffffu, own_row, 8 * j + lane / 4);
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) scores[j][i] = 0.0f;
  }
  TANDEM_UNROLL
  for (int chunk = 0; chunk < 2 * kWide; ++chunk) {
    uint4 k[4];
    TANDEM_UNROLL
    for (int j = 0; j < 4; ++j) k[j] = keys.eight_halves(key[j], 32 * chunk + 8 * (lane % 4));
    TANDEM_UNROLL
    for (int part = 0; part < 4; ++part) {  // [step][value, rest]
      const uint4 q = queries[(4 * chunk + part) * 32 + lane];
      const FragmentA a = {q.x, q.y, q.z, q.w};
      TANDEM_UNROLL
      for (int j = 0; j < 4; ++j) {
        const FragmentB b = {part < 2 ? k[j].x : k[j].z, part < 2 ? k[j].y : k[j].w};
        mma_m16n8k16_f16(scores[j], a, b);
      }
    }
  }
}

// Turns scores into the probabilities' float16 operands, relative to the largest score so far, and
// scales what was summed before.
template <int kWide>
__device__ __forceinline__ void soften(float (&scores)[4][4], std::int32_t first_position,
                                       const RowRange& rows, float soft_cap, int lane,
                                       AttentionSums<kWide>& sums, FragmentA (&p)[2]) {
  float largest[2] = {sums.largest[0], sums.largest[1]};
  TANDEM_UNROLL
  for (int j = 0; j < 4; ++j) {
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::int32_t position = first_position + 8 * j + 2 * (lane % 4) + i % 2;
      const bool seen = position >= rows.begin[i / 2] && position < rows.end[i / 2];
      if (soft_cap > 0.0f) scores[j][i] = soft_cap * tanhf(scores[j][i] / soft_cap);
      scores[j][i] = seen ? scores[j][i] : kNoScore;
      largest[i / 2] = fmaxf(largest[i / 2], scores[j][i]);
    }
  }
  float shrink[2], base[2];
  TANDEM_UNROLL
  for (int h = 0; h < 2; ++h) {
    largest[h] = fmaxf(largest[h], __shfl_xor_sync(0xffffffffu, largest[h], 1));
    largest[h] = fmaxf(largest[h], __shfl_xor_sync(0xffffffffu, largest[h], 2));
    base[h] = largest[h] == kNoScore ? 0.0f : largest[h];  // a row that has seen nothing yet
    shrink[h] = exp2f((sums.largest[h] - base[h]) * kLog2E);
    sums.largest[h] = largest[h];
    sums.sum[h] *= shrink[h];
  }
  TANDEM_UNROLL
  for (int j = 0; j < kWide * 8; ++j) {
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) sums.out[j][i] *= shrink[i / 2];
  }
  TANDEM_UNROLL
  for (int j = 0; j < 4; ++j) {
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      scores[j][i] = exp2f((scores[j][i] - base[i / 2]) * kLog2E);
      sums.sum[i / 2] += scores[j][i];
    }
    p[j / 2][2 * (j % 2)] = pack_halves(scores[j][0], scores[j][1]);
    p[j / 2][2 * (j % 2) + 1] = pack_halves(scores[j][2], scores[j][3]);
  }
}

template <int kWide, ElementType kType>
__device__ __forceinline__ void add_values(const KvRows<kType>& values, std::int32_t own_row,
                                           const FragmentA (&p)[2], int lane,
                                           AttentionSums<kWide>& sums) {
  const int t = lane % 4;
  TANDEM_UNROLL
  for (int step = 0; step < 2; ++step) {
    std::int32_t row[4];
    TANDEM_UNROLL
    for (int i = 0; i < 4; ++i) {
      row[i] = __shfl_sync(0xffffffffu, own_row, 16 * step + 2 * t + i % 2 + 8 * (i / 2));
    }
    TANDEM_UNROLL
    for (int b = 0; b < kWide; ++b) {
      std::uint32_t v[4][4];
      TANDEM_UNROLL
      for (int i = 0; i < 4; ++i) {
        const uint4 eight = values.eight_halves(row[i], 64 * b + 8 * (lane / 4));
        v[i][0] = eight.x, v[i][1] = eight.y, v[i][2] = eight.z, v[i][3] = eight.w;
      }
      TANDEM_UNROLL
      for (int j = 0; j < 8; ++j) {
        const unsigned pair = j % 2 == 0 ? 0x5410u : 0x7632u;
        const FragmentB operand = {__byte_perm(v[0][j / 2], v[1][j / 2], pair),
                                   __byte_perm(v[2][j / 2], v[3][j / 2], pair)};
        mma_m16n8k16_f16(sums.out[8 * b + j], p[step], operand);
      }
    }
  }
}

}  // namespace tandem::cuda
