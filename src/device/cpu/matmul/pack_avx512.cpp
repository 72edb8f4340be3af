#include <immintrin.h>

#include "device/cpu/matmul/packers.h"

#include "device/cpu/matmul/target_begin_avx512.h"

// Sixteen rows are turned into lanes by gathers: one collects four bytes of every row.

namespace tandem::avx512 {
namespace {

inline __m512i row_offsets(std::int64_t stride) {
  const __m512i rows = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_mullo_epi32(rows, _mm512_set1_epi32(static_cast<int>(stride)));
}

}  // namespace

void pack_plane(const std::uint8_t* codes, std::int64_t stride, int shift, int bits,
                std::byte* plane) {
  const __m512i offsets = row_offsets(stride);
  const __m512i mask = _mm512_set1_epi8(static_cast<char>((1 << bits) - 1));
  const __m128i down = _mm_cvtsi32_si128(shift);
  for (int z = 0; z < bits; ++z) {
    __m512i packed = _mm512_setzero_si512();
    for (int field = 0; field < 8 / bits; ++field) {
      const __m512i quad = _mm512_i32gather_epi32(offsets, codes + 4 * (field * bits + z), 1);
      const __m512i part = _mm512_and_si512(_mm512_srl_epi32(quad, down), mask);
      const __m128i up = _mm_cvtsi32_si128(field * bits);
      packed = _mm512_or_si512(packed, _mm512_sll_epi32(part, up));
    }
    _mm512_storeu_si512(plane + z * kQuadBytes, packed);
  }
}

void pack_halves(const std::byte* rows, std::int64_t stride, std::int64_t columns, int per_lane,
                 std::byte* group) {
  const __m512i offsets = row_offsets(stride);
  // Lanes of two columns become all rows of the first, then of the second.
  alignas(64) static constexpr std::uint16_t kApart[32] = {
      0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
      1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
  const __m512i apart = _mm512_load_si512(kApart);
  for (std::int64_t column = 0; column < columns; column += 2) {
    __m512i pairs = _mm512_i32gather_epi32(offsets, rows + 2 * column, 1);
    if (per_lane == 1) pairs = _mm512_permutexvar_epi16(apart, pairs);
    _mm512_storeu_si512(group + 2 * column * kGroupRows, pairs);
  }
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
