#include <immintrin.h>

#include <cstring>

#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx2.h"

// Without VNNI a product of bytes is vpmaddubsw, which adds two neighbours in 16 bits and
// saturates. So many quads may be added there before the sum must move to 32 bits as keep within
// 32767:
//
//   levels up to 15: 8 quads (8 * 2 * 15 * 127 = 30480)    up to 31: 4    up to 63: 2
//
// Levels of eight bits lose their offset of 128 and go as magnitude, with their sign given to the
// activation: 2 * 128 * 127 = 32512, one quad.

namespace tandem::avx2 {
namespace {

constexpr int quads_in_16_bits(const PackedTraits& traits) {
  if (traits.level_offset == 128) return 1;
  const int bits = traits.table == LevelTable::kE2m1 ? 5 : traits.low_bits + traits.high_bits;
  return bits <= 4 ? 8 : bits == 5 ? 4 : 2;
}

inline __m256i broadcast(const void* four_bytes) {
  std::int32_t value;
  std::memcpy(&value, four_bytes, 4);
  return _mm256_set1_epi32(value);
}

template <bool kSigned>
inline __m256i multiply(__m256i levels, __m256i codes) {
  if constexpr (!kSigned) return _mm256_maddubs_epi16(levels, codes);
  const __m256i level = _mm256_xor_si256(levels, _mm256_set1_epi8(static_cast<char>(0x80)));
  return _mm256_maddubs_epi16(_mm256_abs_epi8(level), _mm256_sign_epi8(codes, level));
}

// The integer products of eight rows with one sub-block of kQuads quads.
template <int kQuads, int kStep>
inline __m256i dot_sub_block(const std::uint8_t (*quads)[kQuadBytes], int half,
                             const std::int8_t* codes, __m256i start) {
  constexpr bool kSigned = kStep == 1;
  constexpr int kRun = kStep < kQuads ? kStep : kQuads;
  __m256i sum = start;
  for (int first = 0; first < kQuads; first += kRun) {
    __m256i words = _mm256_setzero_si256();
    for (int q = first; q < first + kRun; ++q) {
      const __m256i levels =
          _mm256_load_si256(reinterpret_cast<const __m256i*>(quads[q] + 32 * half));
      words = _mm256_add_epi16(words, multiply<kSigned>(levels, broadcast(codes + 4 * q)));
    }
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
  }
  return sum;
}

// Eight rows of a group times one row of x.
template <int kSubBlock, int kStep>
void tile_half(const RoundedKernels::Tile& tile, const PanelChunk& panel, int half,
               const RoundedRow& row, float* sums) {
  constexpr int kSubs = 32 / kSubBlock;
  constexpr int kQuads = kSubBlock / 4;
  const RoundedChunk& x = row.chunk(tile.chunk_index);
  const std::int32_t* starts = row.start(tile.chunk_index);
  const int lane = 8 * half;
  __m256 sum = _mm256_loadu_ps(sums + lane);
  for (int b = 0; b < tile.num_blocks; ++b) {
    __m256 u = _mm256_setzero_ps();
    for (int s = 0; s < kSubs; ++s) {
      const int j = b * kSubs + s;
      const __m256i dot =
          dot_sub_block<kQuads, kStep>(panel.levels[b] + s * kQuads, half, x.codes + j * kSubBlock,
                                       _mm256_set1_epi32(starts[j]));
      const __m256 product = _mm256_sub_ps(_mm256_castsi256_ps(dot), _mm256_set1_ps(kRounder));
      const __m256 scale = _mm256_load_ps(panel.scales[j] + lane);
      u = s == 0 ? _mm256_mul_ps(product, scale) : _mm256_fmadd_ps(product, scale, u);
    }
    sum = _mm256_fmadd_ps(u, _mm256_set1_ps(x.scales[b]), sum);
    if (tile.traits.form == ScaleForm::kHalfWithMin) {
      const __m256 shift = _mm256_load_ps(panel.shifts[b] + lane);
      sum = _mm256_fmadd_ps(_mm256_set1_ps(x.sums[b]), shift, sum);
    }
  }
  if (tile.traits.form == ScaleForm::kSuperWithMin) {
    const std::uint32_t* pairs = kSubBlock == 32 ? x.sum_pairs_32 : x.sum_pairs_16;
    const float scale = kSubBlock == 32 ? x.pair_scale_32 : x.pair_scale_16;
    __m256i mins = _mm256_setzero_si256();
    for (int p = 0; p < 128 / kSubBlock; ++p) {
      const __m256i min =
          _mm256_load_si256(reinterpret_cast<const __m256i*>(panel.min_pairs[p] + lane));
      mins = _mm256_add_epi32(mins, _mm256_madd_epi16(min, broadcast(pairs + p)));
    }
    const __m256 product =
        _mm256_mul_ps(_mm256_cvtepi32_ps(mins), _mm256_load_ps(panel.min_scale + lane));
    sum = _mm256_fmadd_ps(product, _mm256_set1_ps(scale), sum);
  }
  _mm256_storeu_ps(sums + lane, sum);
}

template <int kSubBlock, int kStep>
void tile_of(const RoundedKernels::Tile& tile) {
  for (std::int64_t i = 0; i < tile.num_rows; ++i) {
    for (int g = 0; g < tile.num_groups; ++g) {
      float* sums = tile.sums + i * kPanelRows + g * kGroupRows;
      tile_half<kSubBlock, kStep>(tile, tile.panel[g], 0, tile.x[i], sums);
      tile_half<kSubBlock, kStep>(tile, tile.panel[g], 1, tile.x[i], sums);
    }
  }
}

}  // namespace

void tile(const RoundedKernels::Tile& tile) {
  const bool narrow = tile.traits.sub_block == 16;
  switch (quads_in_16_bits(tile.traits)) {
    case 1:
      return tile_of<32, 1>(tile);  // no type of eight bits has sub-blocks of 16
    case 2:
      return tile_of<16, 2>(tile);  // Q6_K
    case 4:
      return tile_of<32, 4>(tile);
    default:
      return narrow ? tile_of<16, 8>(tile) : tile_of<32, 8>(tile);
  }
}

}  // namespace tandem::avx2

#include "device/cpu/matmul/target_end.h"
