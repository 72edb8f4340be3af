#include <immintrin.h>

#include <cstring>

#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512_bf16.h"

// BF16 weights and activations, two columns an instruction: the packed pairs of columns are its
// operand as they lie.

namespace tandem::avx512 {
namespace {

inline __m512i broadcast_pair(const float* x, std::int64_t column) {
  std::int32_t pair;
  std::memcpy(&pair, reinterpret_cast<const std::uint16_t*>(x) + column, 4);
  return _mm512_set1_epi32(pair);
}

template <int kGroups, int kRows>
void tile_rows(const FloatTile& tile, std::int64_t first_row) {
  __m512 sums[kGroups][kRows];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      sums[g][i] = _mm512_loadu_ps(tile.sums + (first_row + i) * kPanelRows + g * kGroupRows);
    }
  }
  for (std::int64_t column = tile.begin; column < tile.end; column += 2) {
    __m512i weights[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      const std::byte* at = tile.groups + g * tile.group_bytes + column * 2 * kGroupRows;
      // See float_tile_avx512.cpp.
      if constexpr (kRows <= 3) asm volatile("prefetcht0 %0" : : "m"(*(at + 2048)));
      weights[g] = _mm512_loadu_si512(at);
    }
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      const __m512i pair = broadcast_pair(tile.x[first_row + i], column);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        sums[g][i] = _mm512_dpbf16_ps(sums[g][i], reinterpret_cast<__m512bh>(weights[g]),
                                      reinterpret_cast<__m512bh>(pair));
      }
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      _mm512_storeu_ps(tile.sums + (first_row + i) * kPanelRows + g * kGroupRows, sums[g][i]);
    }
  }
}

template <int kGroups>
void tile_groups(const FloatTile& tile) {
  std::int64_t row = 0;
  for (; row + 6 <= tile.num_rows; row += 6) tile_rows<kGroups, 6>(tile, row);
  for (; row + 3 <= tile.num_rows; row += 3) tile_rows<kGroups, 3>(tile, row);
  if (tile.num_rows - row == 2) tile_rows<kGroups, 2>(tile, row);
  if (tile.num_rows - row == 1) tile_rows<kGroups, 1>(tile, row);
}

}  // namespace

void bf16_tile(const FloatTile& whole) {
  if (whole.num_groups == kPanelGroups) return tile_groups<kPanelGroups>(whole);
  FloatTile tile = whole;
  for (; tile.num_groups > 0; --tile.num_groups) {
    tile_groups<1>(tile);
    tile.groups += tile.group_bytes;
    tile.sums += kGroupRows;
  }
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
