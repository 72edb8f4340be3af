#include <immintrin.h>

#include "device/cpu/ceiling_loops.h"

#include "device/cpu/matmul/target_begin_avx512_bf16.h"

namespace tandem::ceiling_loops {
namespace {

// Sums that start alike and are treated alike would be computed once for all.
template <typename T, int kSums>
void tell_apart(T (&sums)[kSums]) {
  for (T& sum : sums) asm volatile("" : "+v"(sum));
}

template <int kSums>
std::uint64_t bf16(std::int64_t iterations) {
  __m512 sums[kSums] = {};
  tell_apart(sums);
  __m512i a = _mm512_set1_epi32(0x30003000);
  __m512i b = _mm512_set1_epi32(0x3f803f80);
  for (std::int64_t k = 0; k < iterations * kRounds; ++k) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) {
      sums[i] =
          _mm512_dpbf16_ps(sums[i], reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
    }
  }
  __m512 sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm512_add_ps(sum, sums[i]);
  return static_cast<std::uint64_t>(_mm512_reduce_add_ps(sum));
}

}  // namespace

std::uint64_t bf16_avx512(std::int64_t iterations, int sums) {
  return sums == 8 ? bf16<8>(iterations) : sums == 10 ? bf16<10>(iterations) : bf16<12>(iterations);
}

}  // namespace tandem::ceiling_loops

#include "device/cpu/matmul/target_end.h"
