#include <immintrin.h>

#include <cstring>

#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512.h"

// Weights of 16 or 32 bits with float activations: kGroups groups x kRows rows of x in registers,
// a weight converted once for kRows uses.

namespace tandem::avx512 {
namespace {

template <int kGroups, int kRows>
struct Sums {
  __m512 values[kGroups][kRows];
};

template <int kGroups, int kRows>
inline void add_column(const __m512 (&weights)[kGroups], const float* const (&x)[kRows],
                       std::int64_t column, Sums<kGroups, kRows>& sums) {
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
    const __m512 value = _mm512_set1_ps(x[i][column]);
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      sums.values[g][i] = _mm512_fmadd_ps(value, weights[g], sums.values[g][i]);
    }
  }
}

// With few rows of x the weights come from memory: the four groups are four streams, and each is
// asked for ahead of its use. Not _mm_prefetch: GCC 12 drops calls of what does nothing else.
[[gnu::always_inline]] inline void prefetch_ahead(const std::byte* at) {
  asm volatile("prefetcht0 %0" : : "m"(*(at + 2048)));
}

template <ElementType kType, int kGroups, int kRows>
void tile_rows(const FloatTile& tile, std::int64_t first_row) {
  [[maybe_unused]] constexpr std::int64_t kColumnBytes =
      kGroupRows * (kType == ElementType::kF32 ? 4 : 2);
  const float* x[kRows];
  Sums<kGroups, kRows> sums;
  const std::byte* groups[kGroups];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
    x[i] = tile.x[first_row + i];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      sums.values[g][i] =
          _mm512_loadu_ps(tile.sums + (first_row + i) * kPanelRows + g * kGroupRows);
    }
  }
  for (int g = 0; g < kGroups; ++g) groups[g] = tile.groups + g * tile.group_bytes;
  __m512 weights[kGroups];
  if constexpr (kType == ElementType::kBF16) {
    for (std::int64_t column = tile.begin; column < tile.end; column += 2) {
      __m512i pairs[kGroups];
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        if constexpr (kRows <= 3) prefetch_ahead(groups[g] + column * 2 * kGroupRows);
        pairs[g] = _mm512_loadu_si512(groups[g] + column * 2 * kGroupRows);
        weights[g] = _mm512_castsi512_ps(_mm512_slli_epi32(pairs[g], 16));
      }
      add_column<kGroups, kRows>(weights, x, column, sums);
      if (column + 1 == tile.end) break;
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        weights[g] = _mm512_castsi512_ps(
            _mm512_and_si512(pairs[g], _mm512_set1_epi32(static_cast<int>(0xffff0000))));
      }
      add_column<kGroups, kRows>(weights, x, column + 1, sums);
    }
  } else {
    for (std::int64_t column = tile.begin; column < tile.end; ++column) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        if constexpr (kRows <= 3) prefetch_ahead(groups[g] + column * kColumnBytes);
        if constexpr (kType == ElementType::kF16) {
          weights[g] = _mm512_cvtph_ps(_mm256_loadu_si256(
              reinterpret_cast<const __m256i*>(groups[g] + column * 2 * kGroupRows)));
        } else {
          weights[g] =
              _mm512_loadu_ps(reinterpret_cast<const float*>(groups[g]) + column * kGroupRows);
        }
      }
      add_column<kGroups, kRows>(weights, x, column, sums);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      _mm512_storeu_ps(tile.sums + (first_row + i) * kPanelRows + g * kGroupRows,
                       sums.values[g][i]);
    }
  }
}

template <ElementType kType, int kGroups>
void tile_groups(const FloatTile& tile) {
  std::int64_t row = 0;
  for (; row + 6 <= tile.num_rows; row += 6) tile_rows<kType, kGroups, 6>(tile, row);
  for (; row + 3 <= tile.num_rows; row += 3) tile_rows<kType, kGroups, 3>(tile, row);
  if (tile.num_rows - row == 2) tile_rows<kType, kGroups, 2>(tile, row);
  if (tile.num_rows - row == 1) tile_rows<kType, kGroups, 1>(tile, row);
}

template <ElementType kType>
void tile_of(FloatTile tile) {
  if (tile.num_groups == kPanelGroups) return tile_groups<kType, kPanelGroups>(tile);
  for (; tile.num_groups > 0; --tile.num_groups) {
    tile_groups<kType, 1>(tile);
    tile.groups += tile.group_bytes;
    tile.sums += kGroupRows;
  }
}

}  // namespace

void float_tile(const FloatTile& tile) {
  if (tile.type == ElementType::kF16) return tile_of<ElementType::kF16>(tile);
  if (tile.type == ElementType::kBF16) return tile_of<ElementType::kBF16>(tile);
  tile_of<ElementType::kF32>(tile);
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
