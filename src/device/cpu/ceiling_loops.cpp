#include "device/cpu/ceiling_loops.h"

#include <emmintrin.h>

#include <cstring>

namespace tandem::ceiling_loops {
namespace {

inline void keep(__m128i& value) {
  asm volatile("" : "+x"(value));
}
inline void keep(__m128& value) {
  asm volatile("" : "+x"(value));
}

// SSE2: what any x86-64 has.
std::uint64_t read_sse2(const std::byte* data, std::int64_t bytes, int streams, bool prefetch) {
  const std::int64_t part = bytes / streams;
  __m128i sums[4] = {};
  for (std::int64_t at = 0; at < part; at += 64) {
    for (int s = 0; s < streams; ++s) {
      const std::byte* from = data + s * part + at;
      if (prefetch) _mm_prefetch(reinterpret_cast<const char*>(from + kPrefetchBytes), _MM_HINT_T0);
      for (int i = 0; i < 4; ++i) {
        sums[i] =
            _mm_xor_si128(sums[i], _mm_load_si128(reinterpret_cast<const __m128i*>(from + 16 * i)));
      }
    }
  }
  const __m128i sum =
      _mm_xor_si128(_mm_xor_si128(sums[0], sums[1]), _mm_xor_si128(sums[2], sums[3]));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(sum));
}

// Without an instruction for bytes the portable kernels multiply 16-bit numbers.
std::uint64_t int8_sse2(std::int64_t iterations, int num_sums) {
  __m128i sums[16] = {};
  for (__m128i& sum : sums) keep(sum);  // sums alike would be computed once for all
  __m128i a = _mm_set1_epi16(3);
  __m128i b = _mm_set1_epi16(5);
  for (std::int64_t k = 0; k < iterations * kRounds; ++k) {
    keep(a);
    keep(b);
    for (int i = 0; i < num_sums; ++i) sums[i] = _mm_add_epi32(sums[i], _mm_madd_epi16(a, b));
  }
  __m128i sum = sums[0];
  for (int i = 1; i < num_sums; ++i) sum = _mm_add_epi32(sum, sums[i]);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(sum));
}

std::uint64_t float_sse2(std::int64_t iterations, int num_sums) {
  __m128 sums[16] = {};
  for (__m128& sum : sums) keep(sum);
  __m128 a = _mm_set1_ps(1e-9f);
  __m128 b = _mm_set1_ps(1.5f);
  for (std::int64_t k = 0; k < iterations * kRounds; ++k) {
    keep(a);
    keep(b);
    for (int i = 0; i < num_sums; ++i) sums[i] = _mm_add_ps(sums[i], _mm_mul_ps(a, b));
  }
  __m128 sum = sums[0];
  for (int i = 1; i < num_sums; ++i) sum = _mm_add_ps(sum, sums[i]);
  return static_cast<std::uint64_t>(_mm_cvtss_f32(sum));
}

constexpr Loops kPortable = {read_sse2, int8_sse2, 16, float_sse2, 8, nullptr, 0};
constexpr Loops kAvx2 = {read_avx2, int8_avx2, 64, float_avx2, 16, nullptr, 0};
constexpr Loops kAvx512 = {read_avx512, int8_avx512, 128, float_avx512, 32, nullptr, 0};
constexpr Loops kAvx512Bf16 = {read_avx512, int8_avx512, 128, float_avx512, 32, bf16_avx512, 64};

}  // namespace

const Loops& loops_for(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAvx512:
      return has_avx512_bf16() ? kAvx512Bf16 : kAvx512;
    case InstructionSet::kAvx2:
      return kAvx2;
    case InstructionSet::kPortable:
      break;
  }
  return kPortable;
}

}  // namespace tandem::ceiling_loops
