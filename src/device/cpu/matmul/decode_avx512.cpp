#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/checked.h"
#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512.h"

#include "device/cpu/matmul/packed_reader_avx512.h"

// One group of 16 rows times a few rows of x: the weights are unpacked in registers and used at
// once. The packed bytes are read in the order in which they lie, by one stream a thread.

namespace tandem::avx512 {
namespace {

// How far ahead of its use a line is asked for: two memory latencies at what one core can read
// (100 ns at 40 GB/s are 4 KiB).
constexpr std::int64_t kPrefetchBytes = 8192;

// Not _mm_prefetch: GCC 12 drops calls of what does nothing else.
[[gnu::always_inline]] inline void prefetch(const std::byte* at) {
  asm volatile("prefetcht0 %0" : : "m"(*at));
}

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
  // A few lines with each block: a chunk's lines all at once would fill the queue of misses and
  // hold up the loads behind them.
  constexpr int kLinesABlock =
      static_cast<int>(ceil_div<std::int64_t>(chunk_bytes(kTraits, 8), 8 * 64));
  for (int b = 0; b < num_blocks; ++b) {
#pragma GCC unroll 16
    for (int line = 0; line < kLinesABlock; ++line) {
      prefetch(bytes + kPrefetchBytes + 64 * (b * kLinesABlock + line));
    }
    __m512 u[kRows];
#pragma GCC unroll 2
    for (int s = 0; s < kSubs; ++s) {
      const int j = b * kSubs + s;
      __m512i dots[kRows];
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) dots[i] = _mm512_set1_epi32(starts[i][j]);
#pragma GCC unroll 8
      for (int q = 0; q < kQuads; ++q) {
        __m512i weights = reader.level(b, s * kQuads + q);
        // Without this GCC unpacks them again for each use.
        asm("" : "+v"(weights));
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
          const std::int8_t* codes = chunk[i]->codes + j * kTraits.sub_block;
          dots[i] = _mm512_dpbusd_epi32(dots[i], weights, broadcast_quad(codes + 4 * q));
        }
      }
      const __m512 scale = reader.scale(j);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const __m512 product =
            _mm512_sub_ps(_mm512_castsi512_ps(dots[i]), _mm512_set1_ps(kRounder));
        u[i] = s == 0 ? _mm512_mul_ps(product, scale) : _mm512_fmadd_ps(product, scale, u[i]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      sums[i] = _mm512_fmadd_ps(u[i], _mm512_set1_ps(chunk[i]->scales[b]), sums[i]);
    }
    if constexpr (kTraits.form == ScaleForm::kHalfWithMin) {
      const __m512 shift = reader.shift(b);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        sums[i] = _mm512_fmadd_ps(_mm512_set1_ps(chunk[i]->sums[b]), shift, sums[i]);
      }
    }
  }
  if constexpr (kTraits.form == ScaleForm::kSuperWithMin) {
    constexpr bool kNarrow = kTraits.sub_block == 16;
    __m512i mins[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) mins[i] = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int p = 0; p < (kNarrow ? 8 : 4); ++p) {
      const __m512i pair = reader.min_pair(p);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const std::uint32_t sum = kNarrow ? chunk[i]->sum_pairs_16[p] : chunk[i]->sum_pairs_32[p];
        mins[i] = _mm512_dpwssd_epi32(mins[i], pair, _mm512_set1_epi32(static_cast<int>(sum)));
      }
    }
    const __m512 min_scale = reader.min_scale();
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const float scale = kNarrow ? chunk[i]->pair_scale_16 : chunk[i]->pair_scale_32;
      const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(mins[i]), min_scale);
      sums[i] = _mm512_fmadd_ps(product, _mm512_set1_ps(scale), sums[i]);
    }
  }
}

// The first num_rows of kRows: those beyond are computed as the last of them once more, which costs
// less than another pass.
template <ElementType kType, int kRows>
void decode_group(const std::byte* group, std::int64_t columns, const RoundedRow* given, float* out,
                  int num_rows = kRows) {
  RoundedRow x[kRows];
  for (int i = 0; i < kRows; ++i) x[i] = given[std::min(i, num_rows - 1)];
  constexpr PackedTraits kTraits = packed_traits(kType);
  constexpr std::int64_t kChunkBytes = chunk_bytes(kTraits, 8);
  __m512 sums[kRows];
  for (int i = 0; i < kRows; ++i) sums[i] = _mm512_setzero_ps();
  const std::int64_t whole = columns / kChunkColumns;
  for (std::int64_t c = 0; c < whole; ++c) {
    const std::byte* bytes = group + c * kChunkBytes;
    decode_chunk<kType, kRows>(bytes, 8, x, c, sums);
  }
  if (const int rest = static_cast<int>(columns % kChunkColumns / 32); rest > 0) {
    decode_chunk<kType, kRows>(group + whole * kChunkBytes, rest, x, whole, sums);
  }
  for (int i = 0; i < num_rows; ++i) _mm512_storeu_ps(out + i * kPanelRows, sums[i]);
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
      case 4:
        return decode_group<kType, 4>(group, columns, x, sums);
      case 5:
      case 6:
        return decode_group<kType, 6>(group, columns, x, sums, num_rows);
      default:
        return decode_group<kType, 8>(group, columns, x, sums, num_rows);
    }
  });
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
