#include <immintrin.h>

#include <cstring>

#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx2.h"

namespace tandem::avx2 {
namespace {

inline __m256i load_256(const void* bytes) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}
inline __m128i load_64(const void* bytes) {
  return _mm_loadl_epi64(static_cast<const __m128i*>(bytes));
}
inline __m128i load_128(const void* bytes) {
  return _mm_loadu_si128(static_cast<const __m128i*>(bytes));
}

// quads[q] |= field q / bits of register q % bits of the plane, moved up by `to` bits.
void add_plane(const std::byte* plane, int bits, int to, std::uint8_t (*quads)[kQuadBytes]) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>((1 << bits) - 1));
  for (int quad = 0; quad < 8; ++quad) {
    const __m128i down = _mm_cvtsi32_si128(quad / bits * bits);
    const __m128i up = _mm_cvtsi32_si128(to);
    for (int half = 0; half < kQuadBytes; half += 32) {
      const __m256i bytes = load_256(plane + (quad % bits) * kQuadBytes + half);
      const __m256i field = _mm256_and_si256(_mm256_srl_epi16(bytes, down), mask);
      auto* at = reinterpret_cast<__m256i*>(quads[quad] + half);
      const __m256i lower = to == 0 ? _mm256_setzero_si256() : _mm256_load_si256(at);
      _mm256_store_si256(at, _mm256_or_si256(lower, _mm256_sll_epi16(field, up)));
    }
  }
}

void look_up(LevelTable table, std::uint8_t (*quads)[kQuadBytes]) {
  const __m256i levels = _mm256_broadcastsi128_si256(load_128(offset_levels(table).data()));
  for (int quad = 0; quad < 8; ++quad) {
    for (int half = 0; half < kQuadBytes; half += 32) {
      auto* at = reinterpret_cast<__m256i*>(quads[quad] + half);
      _mm256_store_si256(at, _mm256_shuffle_epi8(levels, _mm256_load_si256(at)));
    }
  }
}

void unpack_levels(const PackedTraits& traits, const std::byte* low, int num_blocks,
                   PanelChunk& panel) {
  const std::byte* high = low + low_plane_bytes(traits, num_blocks);
  for (int b = 0; b < num_blocks; ++b) {
    const int at = b * kQuadBytes;
    if (traits.low_bits == 8) {
      std::memcpy(panel.levels[b], low + 8 * at, 8 * kQuadBytes);
    } else {
      add_plane(low + at * traits.low_bits, traits.low_bits, 0, panel.levels[b]);
    }
    if (traits.high_bits > 0) {
      add_plane(high + at * traits.high_bits, traits.high_bits, traits.low_bits, panel.levels[b]);
    }
    if (traits.table != LevelTable::kNone) look_up(traits.table, panel.levels[b]);
  }
}

// 16 numbers of float16 times `factor`.
inline void convert_halves(const std::byte* halves, float factor, float* out) {
  for (int half = 0; half < 2; ++half) {
    const __m256 values = _mm256_cvtph_ps(load_128(halves + 16 * half));
    _mm256_store_ps(out + 8 * half, _mm256_mul_ps(values, _mm256_set1_ps(factor)));
  }
}

void unpack_super_scales(const PackedTraits& traits, const std::byte* scales, PanelChunk& panel) {
  const bool with_min = traits.form == ScaleForm::kSuperWithMin;
  const bool narrow = traits.sub_block == 16;
  const int subs = kChunkColumns / traits.sub_block;
  const std::byte* integers = scales + (with_min ? 64 : 32);
  const __m256i low_nibble = _mm256_set1_epi32(with_min && narrow ? 0x0f : -1);
  for (int half = 0; half < 2; ++half) {
    const __m256 d = _mm256_cvtph_ps(load_128(scales + 16 * half));
    for (int j = 0; j < subs; ++j) {
      const __m256i integer = _mm256_and_si256(
          _mm256_cvtepi8_epi32(load_64(integers + kGroupRows * j + 8 * half)), low_nibble);
      _mm256_store_ps(panel.scales[j] + 8 * half, _mm256_mul_ps(d, _mm256_cvtepi32_ps(integer)));
    }
    if (!with_min) continue;
    for (int p = 0; p < subs / 2; ++p) {
      __m256i pair;
      if (narrow) {
        const std::byte* at = integers + 2 * kGroupRows * p + 8 * half;
        const __m256i even = _mm256_srli_epi32(_mm256_cvtepu8_epi32(load_64(at)), 4);
        const __m256i odd = _mm256_srli_epi32(_mm256_cvtepu8_epi32(load_64(at + kGroupRows)), 4);
        pair = _mm256_or_si256(even, _mm256_slli_epi32(odd, 16));
      } else {
        const std::byte* mins = integers + kGroupRows * subs;
        pair = _mm256_cvtepu8_epi16(load_128(mins + 2 * kGroupRows * p + 16 * half));
      }
      _mm256_store_si256(reinterpret_cast<__m256i*>(panel.min_pairs[p] + 8 * half), pair);
    }
  }
  if (with_min) convert_halves(scales + 32, -1.0f, panel.min_scale);
}

}  // namespace

void unpack(ElementType type, const std::byte* chunk, int num_blocks, PanelChunk& panel) {
  const PackedTraits traits = packed_traits(type);
  unpack_levels(traits, chunk + scales_bytes(traits, num_blocks), num_blocks, panel);
  if (traits.form == ScaleForm::kSuper || traits.form == ScaleForm::kSuperWithMin) {
    return unpack_super_scales(traits, chunk, panel);
  }
  for (int b = 0; b < num_blocks; ++b) {
    if (traits.form == ScaleForm::kExponent) {
      for (int row = 0; row < kGroupRows; ++row) {
        panel.scales[b][row] = half_of_e8m0(static_cast<std::uint8_t>(chunk[kGroupRows * b + row]));
      }
      continue;
    }
    convert_halves(chunk + 32 * b, 1.0f, panel.scales[b]);
    if (traits.form == ScaleForm::kHalfWithMin) {
      convert_halves(chunk + 32 * (num_blocks + b), 1.0f, panel.shifts[b]);
    }
  }
}

}  // namespace tandem::avx2

#include "device/cpu/matmul/target_end.h"
