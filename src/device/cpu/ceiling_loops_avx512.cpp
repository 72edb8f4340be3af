#include <immintrin.h>

#include "device/cpu/ceiling_loops.h"

#include "device/cpu/matmul/target_begin_avx512.h"

namespace tandem::ceiling_loops {
namespace {

// Sums that start alike and are treated alike would be computed once for all.
template <typename T, int kSums>
void tell_apart(T (&sums)[kSums]) {
  for (T& sum : sums) asm volatile("" : "+v"(sum));
}

template <int kStreams, bool kPrefetch>
std::uint64_t read(const std::byte* data, std::int64_t bytes) {
  const std::int64_t part = bytes / kStreams;
  __m512i sums[4] = {};
  for (std::int64_t at = 0; at < part; at += 256) {
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      const std::byte* from = data + s * part + at;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        if constexpr (kPrefetch) {
          const auto* ahead = reinterpret_cast<const char*>(from + kPrefetchBytes + 64 * i);
          asm volatile("prefetcht0 %0" : : "m"(*ahead));
        }
        sums[i] = _mm512_xor_si512(sums[i], _mm512_loadu_si512(from + 64 * i));
      }
    }
  }
  const __m512i sum =
      _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]));
  return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sum));
}

template <int kSums>
std::uint64_t int8(std::int64_t iterations) {
  __m512i sums[kSums] = {};
  tell_apart(sums);
  __m512i a = _mm512_set1_epi8(3);
  __m512i b = _mm512_set1_epi8(5);
  for (std::int64_t k = 0; k < iterations * kRounds; ++k) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  }
  __m512i sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm512_add_epi32(sum, sums[i]);
  return static_cast<std::uint64_t>(_mm512_reduce_or_epi32(sum));  // a sum might overflow
}

template <int kSums>
std::uint64_t float32(std::int64_t iterations) {
  __m512 sums[kSums] = {};
  tell_apart(sums);
  __m512 a = _mm512_set1_ps(1e-9f);
  __m512 b = _mm512_set1_ps(1.5f);
  for (std::int64_t k = 0; k < iterations * kRounds; ++k) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_fmadd_ps(a, b, sums[i]);
  }
  __m512 sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm512_add_ps(sum, sums[i]);
  return static_cast<std::uint64_t>(_mm512_reduce_add_ps(sum));
}

}  // namespace

std::uint64_t read_avx512(const std::byte* data, std::int64_t bytes, int streams, bool prefetch) {
  if (streams == 1) return prefetch ? read<1, true>(data, bytes) : read<1, false>(data, bytes);
  if (streams == 2) return prefetch ? read<2, true>(data, bytes) : read<2, false>(data, bytes);
  return prefetch ? read<4, true>(data, bytes) : read<4, false>(data, bytes);
}

std::uint64_t int8_avx512(std::int64_t iterations, int sums) {
  return sums == 8 ? int8<8>(iterations) : sums == 10 ? int8<10>(iterations) : int8<12>(iterations);
}

std::uint64_t float_avx512(std::int64_t iterations, int sums) {
  return sums == 8    ? float32<8>(iterations)
         : sums == 10 ? float32<10>(iterations)
                      : float32<12>(iterations);
}

}  // namespace tandem::ceiling_loops

#include "device/cpu/matmul/target_end.h"
