#include <immintrin.h>

#include <cstring>

#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx2.h"

// As float_tile_avx512.cpp, with two registers a group and up to four rows of x.

namespace tandem::avx2 {
namespace {

inline __m256i load_256(const std::byte* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

// The weights of column `column` of rows [8 * half, 8 * half + 8).
template <ElementType kType>
inline __m256 weights_at(const std::byte* group, std::int64_t column, int half) {
  if constexpr (kType == ElementType::kF32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(group) + column * kGroupRows + 8 * half);
  } else if constexpr (kType == ElementType::kF16) {
    return _mm256_cvtph_ps(_mm_loadu_si128(
        reinterpret_cast<const __m128i*>(group + (column * kGroupRows + 8 * half) * 2)));
  } else {
    const __m256i pairs = load_256(group + column / 2 * kGroupRows * 4 + 32 * half);
    return _mm256_castsi256_ps(
        column % 2 == 0 ? _mm256_slli_epi32(pairs, 16)
                        : _mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
  }
}

template <ElementType kType, int kRows>
void tile_rows(const FloatTile& tile, const std::byte* group, std::int64_t first_row, float* sums) {
  __m256 totals[kRows][2];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    totals[i][0] = _mm256_loadu_ps(sums + i * kPanelRows);
    totals[i][1] = _mm256_loadu_ps(sums + i * kPanelRows + 8);
  }
  for (std::int64_t column = tile.begin; column < tile.end; ++column) {
    const __m256 low = weights_at<kType>(group, column, 0);
    const __m256 high = weights_at<kType>(group, column, 1);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const __m256 x = _mm256_set1_ps(tile.x[first_row + i][column]);
      totals[i][0] = _mm256_fmadd_ps(x, low, totals[i][0]);
      totals[i][1] = _mm256_fmadd_ps(x, high, totals[i][1]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    _mm256_storeu_ps(sums + i * kPanelRows, totals[i][0]);
    _mm256_storeu_ps(sums + i * kPanelRows + 8, totals[i][1]);
  }
}

template <ElementType kType>
void tile_of(const FloatTile& tile) {
  for (int g = 0; g < tile.num_groups; ++g) {
    const std::byte* group = tile.groups + g * tile.group_bytes;
    float* sums = tile.sums + g * kGroupRows;
    std::int64_t row = 0;
    for (; row + 4 <= tile.num_rows; row += 4) {
      tile_rows<kType, 4>(tile, group, row, sums + row * kPanelRows);
    }
    for (; row < tile.num_rows; ++row) {
      tile_rows<kType, 1>(tile, group, row, sums + row * kPanelRows);
    }
  }
}

}  // namespace

void float_tile(const FloatTile& tile) {
  if (tile.type == ElementType::kF16) return tile_of<ElementType::kF16>(tile);
  if (tile.type == ElementType::kBF16) return tile_of<ElementType::kBF16>(tile);
  tile_of<ElementType::kF32>(tile);
}

}  // namespace tandem::avx2

#include "device/cpu/matmul/target_end.h"
