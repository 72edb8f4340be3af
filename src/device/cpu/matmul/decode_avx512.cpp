#include <immintrin.h>

#include <cstring>

#include "base/check.h"
#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512.h"

#include "device/cpu/matmul/packed_reader_avx512.h"

// One group of 16 rows times a few rows of x: the weights are unpacked in registers and used at
// once. The packed bytes are read in the order in which they lie, by one stream a thread.

namespace tandem::avx512 {
namespace {

// How far ahead of its use a chunk is asked for: some memory latencies at a core's share of the
// bandwidth (about 100 ns at 20 GB/s is 2 KiB).
constexpr std::int64_t kPrefetchBytes = 4096;

template <ElementType kType, int kRows>
[[gnu::always_inline]] inline void decode_chunk(const std::byte* bytes, int num_blocks,
                                                const RoundedRow* x, std::int64_t chunk_index,
                                                __m512 (&sums)[kRows]) {
  using Reader = ChunkReader<kType>;
  constexpr PackedTraits kTraits = packed_traits(kType);
  constexpr int kSubs = 32 / kTraits.sub_block;
  constexpr int kQuads = 8 / kSubs;
  const Reader reader(bytes, num_blocks);
  const RoundedChunk* chunk[kRows];
  const std::int32_t* starts[kRows];
  for (int i = 0; i < kRows; ++i) {
    chunk[i] = &x[i].chunk(chunk_index);
    starts[i] = x[i].start(chunk_index);
  }
  for (int b = 0; b < num_blocks; ++b) {
    __m512i quads[8];
    reader.levels(b, quads);
    __m512 u[kRows];
    for (int s = 0; s < kSubs; ++s) {
      const int j = b * kSubs + s;
      const __m512 scale = reader.scale(j);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const std::int8_t* codes = chunk[i]->codes + j * kTraits.sub_block;
        __m512i dot = _mm512_set1_epi32(starts[i][j]);
#pragma GCC unroll 8
        for (int q = 0; q < kQuads; ++q) {
          dot = _mm512_dpbusd_epi32(dot, quads[s * kQuads + q], broadcast_quad(codes + 4 * q));
        }
        const __m512 product = _mm512_sub_ps(_mm512_castsi512_ps(dot), _mm512_set1_ps(kRounder));
        u[i] = s == 0 ? _mm512_mul_ps(product, scale) : _mm512_fmadd_ps(product, scale, u[i]);
      }
    }
    for (int i = 0; i < kRows; ++i) {
      sums[i] = _mm512_fmadd_ps(u[i], _mm512_set1_ps(chunk[i]->scales[b]), sums[i]);
    }
    if constexpr (kTraits.form == ScaleForm::kHalfWithMin) {
      const __m512 shift = reader.shift(b);
      for (int i = 0; i < kRows; ++i) {
        sums[i] = _mm512_fmadd_ps(_mm512_set1_ps(chunk[i]->sums[b]), shift, sums[i]);
      }
    }
  }
  if constexpr (kTraits.form == ScaleForm::kSuperWithMin) {
    constexpr bool kNarrow = kTraits.sub_block == 16;
    __m512i mins[kRows];
    for (int i = 0; i < kRows; ++i) mins[i] = _mm512_setzero_si512();
    for (int p = 0; p < (kNarrow ? 8 : 4); ++p) {
      const __m512i pair = reader.min_pair(p);
      for (int i = 0; i < kRows; ++i) {
        const std::uint32_t sum = kNarrow ? chunk[i]->sum_pairs_16[p] : chunk[i]->sum_pairs_32[p];
        mins[i] = _mm512_dpwssd_epi32(mins[i], pair, _mm512_set1_epi32(static_cast<int>(sum)));
      }
    }
    const __m512 min_scale = reader.min_scale();
    for (int i = 0; i < kRows; ++i) {
      const float scale = kNarrow ? chunk[i]->pair_scale_16 : chunk[i]->pair_scale_32;
      const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(mins[i]), min_scale);
      sums[i] = _mm512_fmadd_ps(product, _mm512_set1_ps(scale), sums[i]);
    }
  }
}

template <ElementType kType, int kRows>
void decode_group(const std::byte* group, std::int64_t columns, const RoundedRow* x, float* out) {
  constexpr PackedTraits kTraits = packed_traits(kType);
  constexpr std::int64_t kChunkBytes = chunk_bytes(kTraits, 8);
  __m512 sums[kRows];
  for (int i = 0; i < kRows; ++i) sums[i] = _mm512_setzero_ps();
  const std::int64_t whole = columns / kChunkColumns;
  for (std::int64_t c = 0; c < whole; ++c) {
    const std::byte* bytes = group + c * kChunkBytes;
    for (std::int64_t line = 0; line < kChunkBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(bytes + kPrefetchBytes + line), _MM_HINT_T0);
    }
    decode_chunk<kType, kRows>(bytes, 8, x, c, sums);
  }
  if (const int rest = static_cast<int>(columns % kChunkColumns / 32); rest > 0) {
    decode_chunk<kType, kRows>(group + whole * kChunkBytes, rest, x, whole, sums);
  }
  for (int i = 0; i < kRows; ++i) _mm512_storeu_ps(out + i * kPanelRows, sums[i]);
}

}  // namespace

void decode(ElementType type, const std::byte* group, std::int64_t columns, const RoundedRow* x,
            int num_rows, float* sums) {
  with_type(type, [&]<ElementType kType>() {
    switch (num_rows) {
      case 1:
        return decode_group<kType, 1>(group, columns, x, sums);
      case 2:
        return decode_group<kType, 2>(group, columns, x, sums);
      case 3:
        return decode_group<kType, 3>(group, columns, x, sums);
      default:
        return decode_group<kType, 4>(group, columns, x, sums);
    }
  });
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
