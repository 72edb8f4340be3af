#include <immintrin.h>

#include "device/cpu/ceiling_loops.h"

#include "device/cpu/matmul/target_begin_avx2.h"

namespace tandem::ceiling_loops {
namespace {

// Sums that start alike and are treated alike would be computed once for all.
template <typename T, int kSums>
void tell_apart(T (&sums)[kSums]) {
  for (T& sum : sums) asm volatile("" : "+x"(sum));
}

template <int kStreams, bool kPrefetch>
std::uint64_t read(const std::byte* data, std::int64_t bytes) {
  const std::int64_t part = bytes / kStreams;
  __m256i sums[2] = {};
  for (std::int64_t at = 0; at < part; at += 64) {
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      const std::byte* from = data + s * part + at;
      if constexpr (kPrefetch) {
        const auto* ahead = reinterpret_cast<const char*>(from + kPrefetchBytes);
        asm volatile("prefetcht0 %0" : : "m"(*ahead));
      }
      for (int i = 0; i < 2; ++i) {
        sums[i] = _mm256_xor_si256(
            sums[i], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32 * i)));
      }
    }
  }
  const __m256i sum = _mm256_xor_si256(sums[0], sums[1]);
  return static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 0));
}

template <int kSums>
std::uint64_t int8(std::int64_t iterations) {
  __m256i sums[kSums] = {};
  tell_apart(sums);
  __m256i a = _mm256_set1_epi8(3);
  __m256i b = _mm256_set1_epi8(5);
  for (std::int64_t k = 0; k < iterations * kRounds; ++k) {
    asm volatile("" : "+x"(a), "+x"(b));
    // The least that a product with four-bit levels needs: one multiplication and one addition.
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) sums[i] = _mm256_add_epi16(sums[i], _mm256_maddubs_epi16(a, b));
  }
  __m256i sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm256_add_epi16(sum, sums[i]);
  return static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 0));
}

template <int kSums>
std::uint64_t float32(std::int64_t iterations) {
  __m256 sums[kSums] = {};
  tell_apart(sums);
  __m256 a = _mm256_set1_ps(1e-9f);
  __m256 b = _mm256_set1_ps(1.5f);
  for (std::int64_t k = 0; k < iterations * kRounds; ++k) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) sums[i] = _mm256_fmadd_ps(a, b, sums[i]);
  }
  __m256 sum = sums[0];
  for (int i = 1; i < kSums; ++i) sum = _mm256_add_ps(sum, sums[i]);
  return static_cast<std::uint64_t>(_mm_cvtss_f32(_mm256_castps256_ps128(sum)));
}

}  // namespace

std::uint64_t read_avx2(const std::byte* data, std::int64_t bytes, int streams, bool prefetch) {
  if (streams == 1) return prefetch ? read<1, true>(data, bytes) : read<1, false>(data, bytes);
  if (streams == 2) return prefetch ? read<2, true>(data, bytes) : read<2, false>(data, bytes);
  return prefetch ? read<4, true>(data, bytes) : read<4, false>(data, bytes);
}

std::uint64_t int8_avx2(std::int64_t iterations, int sums) {
  return sums == 8 ? int8<8>(iterations) : sums == 10 ? int8<10>(iterations) : int8<12>(iterations);
}

std::uint64_t float_avx2(std::int64_t iterations, int sums) {
  return sums == 8    ? float32<8>(iterations)
         : sums == 10 ? float32<10>(iterations)
                      : float32<12>(iterations);
}

}  // namespace tandem::ceiling_loops

#include "device/cpu/matmul/target_end.h"
