#include <immintrin.h>

#include <algorithm>

#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512.h"

// The same as rounded_rows.cpp, bit for bit.

namespace tandem::avx512 {
namespace {

// Sums of each 16 of 64 codes.
inline void sum_codes(__m512i codes, std::int16_t* sums) {
  __m512i s = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), codes);
  s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, _MM_PERM_CDAB));
  s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, _MM_PERM_BADC));
  const __m512i first_of_four = _mm512_maskz_compress_epi32(0x1111, s);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(sums),
                   _mm256_castsi256_si128(_mm512_cvtepi32_epi16(first_of_four)));
}

// A block that is not finite has the factor 0, and NaN times 0 must not reach the codes.
inline __m128i round_16(__m512 x, float factor) {
  if (factor == 0.0f) return _mm_setzero_si128();
  const __m512 rounded =
      _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(factor)), _mm512_set1_ps(kRounder));
  return _mm512_cvtepi32_epi8(_mm512_castps_si512(rounded));
}

void round_chunk(const float* x, int num_blocks, RoundedChunk& chunk) {
  const __m512i magnitude_mask = _mm512_set1_epi32(0x7fffffff);
#pragma GCC unroll 4
  for (int pair = 0; pair < 4; ++pair) {
    __m128i parts[4];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const int b = 2 * pair + i;
      const bool there = b < num_blocks;
      const __m512 low = there ? _mm512_loadu_ps(x + 32 * b) : _mm512_setzero_ps();
      const __m512 high = there ? _mm512_loadu_ps(x + 32 * b + 16) : _mm512_setzero_ps();
      const __m512i bits =
          _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude_mask),
                           _mm512_and_si512(_mm512_castps_si512(high), magnitude_mask));
      const BlockScale scale = block_scale(_mm512_reduce_max_epu32(bits));
      chunk.scales[b] = scale.scale;
      parts[2 * i] = round_16(low, scale.factor);
      parts[2 * i + 1] = round_16(high, scale.factor);
    }
    __m512i codes = _mm512_castsi128_si512(parts[0]);
    codes = _mm512_inserti32x4(codes, parts[1], 1);
    codes = _mm512_inserti32x4(codes, parts[2], 2);
    codes = _mm512_inserti32x4(codes, parts[3], 3);
    _mm512_store_si512(chunk.codes + 64 * pair, codes);
    sum_codes(codes, chunk.code_sums + 4 * pair);
  }
}

}  // namespace

void round_row(const float* x, std::int64_t columns, std::int64_t stride, RoundedChunk* chunks) {
  for (std::int64_t begin = 0; begin < columns; begin += 256) {
    const auto num_blocks = static_cast<int>(std::min<std::int64_t>(256, columns - begin) / 32);
    round_chunk(x + begin, num_blocks, chunks[begin / 256 * stride]);
  }
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
