#include <immintrin.h>

#include <cstring>

#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512.h"

// Many rows of x: a panel's unpacked chunk lies in the L1 cache, and a tile of kGroups groups x
// kRows rows of x is summed in registers. With 4 x 3 there are 12 integer and 12 float sums; each
// weight is loaded once for 3 uses and each activation for 4, which keeps loads below the two a
// cycle that feed two dot-product instructions.

namespace tandem::avx512 {
namespace {

enum class Mins : std::uint8_t { kNone, kPairs, kShifts };

inline __m512i broadcast(const void* four_bytes) {
  std::int32_t value;
  std::memcpy(&value, four_bytes, 4);
  return _mm512_set1_epi32(value);
}

// Without this GCC loads a weight again for each use, and loads become the limit.
inline void keep_in_register(__m512i& value) {
  asm("" : "+v"(value));
}

// Asks for one line of each of the next rows of x, and for their sums: they lie in the L2 cache or
// beyond, and the dot products in flight do not cover such a wait.
template <int kRows>
inline void prefetch_next(const RoundedChunk* const (&x)[kRows],
                          const std::int32_t* const (&starts)[kRows],
                          const RoundedKernels::Tile& tile, std::int64_t first_row, int line) {
  // Not _mm_prefetch: GCC 12 drops the call of a function that does nothing else.
  const auto fetch = [](const void* at) {
    asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(at)));
  };
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    if (line < 7) {
      fetch(reinterpret_cast<const char*>(x[i] + kRows) + 64 * line);
    } else {
      fetch(starts[i] + 16 * kRows);
    }
  }
  const float* sums = tile.sums + (first_row + kRows) * kPanelRows + 16 * line;
  fetch(sums);
  if (line < 4) fetch(sums + 8 * 16);
}

template <int kGroups, int kRows, int kSubBlock, Mins kMins>
void tile_rows(const RoundedKernels::Tile& tile, std::int64_t first_row) {
  constexpr int kSubs = 32 / kSubBlock;
  constexpr int kQuads = kSubBlock / 4;
  const PanelChunk* panel = tile.panel;
  const RoundedChunk* x[kRows];
  const std::int32_t* starts[kRows];
  for (int i = 0; i < kRows; ++i) {
    const RoundedRow& row = tile.x[first_row + i];
    x[i] = &row.chunk(tile.chunk_index);
    starts[i] = row.start(tile.chunk_index);
  }
  __m512 sums[kGroups][kRows];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const float* at = tile.sums + (first_row + i) * kPanelRows;
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) sums[g][i] = _mm512_loadu_ps(at + g * kGroupRows);
  }
  for (int b = 0; b < tile.num_blocks; ++b) {
    prefetch_next<kRows>(x, starts, tile, first_row, b);
    __m512 u[kGroups][kRows];
#pragma GCC unroll 2
    for (int s = 0; s < kSubs; ++s) {
      const int j = b * kSubs + s;
      __m512i dots[kGroups][kRows];
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const __m512i start = _mm512_set1_epi32(starts[i][j]);
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) dots[g][i] = start;
      }
#pragma GCC unroll 8
      for (int q = 0; q < kQuads; ++q) {
        __m512i weights[kGroups];
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          weights[g] = _mm512_load_si512(panel[g].levels[b][s * kQuads + q]);
          keep_in_register(weights[g]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) {
          const __m512i codes = broadcast(x[i]->codes + j * kSubBlock + 4 * q);
#pragma GCC unroll 4
          for (int g = 0; g < kGroups; ++g) {
            dots[g][i] = _mm512_dpbusd_epi32(dots[g][i], weights[g], codes);
          }
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          const __m512 product =
              _mm512_sub_ps(_mm512_castsi512_ps(dots[g][i]), _mm512_set1_ps(kRounder));
          const __m512 scale = _mm512_load_ps(panel[g].scales[j]);
          u[g][i] =
              s == 0 ? _mm512_mul_ps(product, scale) : _mm512_fmadd_ps(product, scale, u[g][i]);
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const __m512 scale = _mm512_set1_ps(x[i]->scales[b]);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        sums[g][i] = _mm512_fmadd_ps(u[g][i], scale, sums[g][i]);
        if constexpr (kMins == Mins::kShifts) {
          sums[g][i] = _mm512_fmadd_ps(_mm512_set1_ps(x[i]->sums[b]),
                                       _mm512_load_ps(panel[g].shifts[b]), sums[g][i]);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    if constexpr (kMins == Mins::kPairs) {
      const std::uint32_t* pairs = kSubBlock == 32 ? x[i]->sum_pairs_32 : x[i]->sum_pairs_16;
      const __m512 scale =
          _mm512_set1_ps(kSubBlock == 32 ? x[i]->pair_scale_32 : x[i]->pair_scale_16);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        __m512i mins = _mm512_setzero_si512();
#pragma GCC unroll 8
        for (int p = 0; p < 128 / kSubBlock; ++p) {
          mins = _mm512_dpwssd_epi32(mins, _mm512_load_si512(panel[g].min_pairs[p]),
                                     broadcast(pairs + p));
        }
        const __m512 product =
            _mm512_mul_ps(_mm512_cvtepi32_ps(mins), _mm512_load_ps(panel[g].min_scale));
        sums[g][i] = _mm512_fmadd_ps(product, scale, sums[g][i]);
      }
    }
    float* at = tile.sums + (first_row + i) * kPanelRows;
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) _mm512_storeu_ps(at + g * kGroupRows, sums[g][i]);
  }
}

// Fetches the packed bytes of the next unpack into the L2 cache, a few lines with each tile of
// rows.
class NextFetcher {
 public:
  explicit NextFetcher(const RoundedKernels::Tile& tile)
      : tile_(tile),
        lines_a_step_(tile.num_groups * tile.next_bytes / 64 * 3 / (tile.num_rows + 1) + 1) {}

  void step() {
    for (std::int64_t i = 0; i < lines_a_step_ && group_ < tile_.num_groups; ++i) {
      const std::byte* at = tile_.next + group_ * tile_.next_stride + offset_;
      asm volatile("prefetcht1 %0" : : "m"(*at));
      offset_ += 64;
      if (offset_ < tile_.next_bytes) continue;
      offset_ = 0;
      ++group_;
    }
  }

 private:
  const RoundedKernels::Tile& tile_;
  std::int64_t lines_a_step_;
  std::int64_t offset_ = 0;
  int group_ = 0;
};

template <int kGroups, int kSubBlock, Mins kMins>
void tile_groups(const RoundedKernels::Tile& tile) {
  NextFetcher fetcher(tile);
  // Sub-blocks of 16 need a third set of sums, u: three rows would not fit in 32 registers.
  constexpr int kRows = kSubBlock == 32 ? 3 : 2;
  std::int64_t row = 0;
  for (; row + kRows <= tile.num_rows; row += kRows) {
    fetcher.step();
    tile_rows<kGroups, kRows, kSubBlock, kMins>(tile, row);
  }
  if (tile.num_rows - row == 2) tile_rows<kGroups, 2, kSubBlock, kMins>(tile, row);
  if (tile.num_rows - row == 1) tile_rows<kGroups, 1, kSubBlock, kMins>(tile, row);
}

template <int kSubBlock, Mins kMins>
void tile_of(const RoundedKernels::Tile& tile) {
  switch (tile.num_groups) {
    case 1:
      return tile_groups<1, kSubBlock, kMins>(tile);
    case 2:
      return tile_groups<2, kSubBlock, kMins>(tile);
    case 3:
      return tile_groups<3, kSubBlock, kMins>(tile);
    default:
      return tile_groups<4, kSubBlock, kMins>(tile);
  }
}

}  // namespace

void tile(const RoundedKernels::Tile& tile) {
  if (tile.traits.form == ScaleForm::kHalfWithMin) return tile_of<32, Mins::kShifts>(tile);
  const bool with_min = tile.traits.form == ScaleForm::kSuperWithMin;
  if (tile.traits.sub_block == 32) {
    return with_min ? tile_of<32, Mins::kPairs>(tile) : tile_of<32, Mins::kNone>(tile);
  }
  return with_min ? tile_of<16, Mins::kPairs>(tile) : tile_of<16, Mins::kNone>(tile);
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
