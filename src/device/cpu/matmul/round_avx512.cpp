#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512.h"

// The same as rounded_rows.cpp, a chunk at a time: its 256 numbers stay in 16 registers between the
// search for the largest and the rounding.

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

inline void fill_sums(RoundedChunk& chunk, int block, int exponent) {
  const int unit = 1 << (kMaxExponent - exponent);
  const int low = chunk.raw_sums[2 * block] * unit;
  const int high = chunk.raw_sums[2 * block + 1] * unit;
  chunk.magic[block] = kRounder / static_cast<float>(1 << exponent);
  chunk.sums[block] = static_cast<float>(low + high);
  chunk.sum_pairs_16[block] =
      (static_cast<std::uint32_t>(low) & 0xffff) | (static_cast<std::uint32_t>(high) << 16);
  const std::uint32_t both = static_cast<std::uint32_t>(low + high) & 0xffff;
  chunk.sum_pairs_32[block / 2] |= both << (16 * (block % 2));
}

void round_chunk(const float* x, int num_blocks, RoundedChunk& chunk) {
  const __m512i magnitude_mask = _mm512_set1_epi32(0x7fffffff);
  __m512 values[16];
  std::uint32_t largest[8] = {};
  std::uint32_t chunk_bits = 0;
#pragma GCC unroll 8
  for (int b = 0; b < 8; ++b) {
    const bool there = b < num_blocks;
    values[2 * b] = there ? _mm512_loadu_ps(x + 32 * b) : _mm512_setzero_ps();
    values[2 * b + 1] = there ? _mm512_loadu_ps(x + 32 * b + 16) : _mm512_setzero_ps();
    const __m512i low = _mm512_and_si512(_mm512_castps_si512(values[2 * b]), magnitude_mask);
    const __m512i high = _mm512_and_si512(_mm512_castps_si512(values[2 * b + 1]), magnitude_mask);
    largest[b] = _mm512_reduce_max_epu32(_mm512_max_epu32(low, high));
    chunk_bits = std::max(chunk_bits, largest[b]);
  }
  const auto chunk_largest = std::bit_cast<float>(chunk_bits);
  const bool finite = chunk_bits < 0x7f800000;
  if (!finite || chunk_largest < 0x1p-100f) return tandem::round_row(x, 32 * num_blocks, 1, &chunk);

  const float factor = 127.0f / chunk_largest;
  chunk.scale = chunk_largest / 127.0f;
  int exponents[8];
#pragma GCC unroll 4
  for (int pair = 0; pair < 4; ++pair) {
    __m128i parts[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int b = 2 * pair + i / 2;
      exponents[b] =
          b < num_blocks ? pick_exponent(std::bit_cast<float>(largest[b]), chunk_largest) : 0;
      const __m512 block_factor = _mm512_set1_ps(factor * static_cast<float>(1 << exponents[b]));
      const __m512 scaled = _mm512_mul_ps(values[4 * pair + i], block_factor);
      const __m512 rounded = _mm512_add_ps(scaled, _mm512_set1_ps(kRounder));
      parts[i] = _mm512_cvtepi32_epi8(_mm512_castps_si512(rounded));
    }
    __m512i codes = _mm512_castsi128_si512(parts[0]);
    codes = _mm512_inserti32x4(codes, parts[1], 1);
    codes = _mm512_inserti32x4(codes, parts[2], 2);
    codes = _mm512_inserti32x4(codes, parts[3], 3);
    _mm512_store_si512(chunk.codes + 64 * pair, codes);
    sum_codes(codes, chunk.raw_sums + 4 * pair);
  }
  std::memset(chunk.sum_pairs_32, 0, sizeof(chunk.sum_pairs_32));
  for (int b = 0; b < 8; ++b) fill_sums(chunk, b, exponents[b]);
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
