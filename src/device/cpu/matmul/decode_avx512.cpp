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

// How far ahead of its use a line is asked for: about a memory latency of what one core reads. With
// several rows of x the lines are used more slowly and other loads get in between.
constexpr std::int64_t prefetch_bytes(int num_rows) {
  return num_rows == 1 ? 3072 : 4096;
}

// Not _mm_prefetch: GCC 12 drops calls of what does nothing else.
[[gnu::always_inline]] inline void prefetch(const std::byte* at) {
  asm volatile("prefetcht0 %0" : : "m"(*at));
}

// A few lines with each block: a chunk's lines all at once would fill the queue of misses and hold
// up the loads behind them.
template <ElementType kType>
[[gnu::always_inline]] inline void prefetch_block(const std::byte* chunk, int block) {
  constexpr auto kLines =
      static_cast<int>(ceil_div<std::int64_t>(chunk_bytes(packed_traits(kType), 8), 8 * 64));
#pragma GCC unroll 16
  for (int line = 0; line < kLines; ++line) prefetch(chunk + 64 * (block * kLines + line));
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
  for (int b = 0; b < num_blocks; ++b) {
    prefetch_block<kType>(bytes + prefetch_bytes(kRows), b);
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

// Two groups times one row of x, side by side: two streams of memory.
template <ElementType kType>
void decode_two(const std::byte* const (&groups)[2], std::int64_t columns, const RoundedRow& x,
                float* const (&out)[2]) {
  constexpr PackedTraits kTraits = packed_traits(kType);
  constexpr std::int64_t kChunkBytes = chunk_bytes(kTraits, 8);
  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (std::int64_t c = 0; c * kChunkColumns < columns; ++c) {
    const RoundedChunk& chunk = x.chunk(c);
    const std::int32_t* starts = x.start(c);
    const int num_blocks = blocks_in_chunk(columns, c);
    for (int b = 0; b < num_blocks; ++b) {
#pragma GCC unroll 2
      for (int g = 0; g < 2; ++g) {
        const std::byte* bytes = groups[g] + c * kChunkBytes;
        prefetch_block<kType>(bytes + prefetch_bytes(1), b);
        const ChunkReader<kType> reader(bytes, num_blocks);
        __m512i dot = _mm512_set1_epi32(starts[b]);
#pragma GCC unroll 8
        for (int q = 0; q < 8; ++q) {
          dot = _mm512_dpbusd_epi32(dot, reader.level(b, q),
                                    broadcast_quad(chunk.codes + 32 * b + 4 * q));
        }
        const __m512 product = _mm512_sub_ps(_mm512_castsi512_ps(dot), _mm512_set1_ps(kRounder));
        sums[g] = _mm512_fmadd_ps(_mm512_mul_ps(product, reader.scale(b)),
                                  _mm512_set1_ps(chunk.scales[b]), sums[g]);
      }
    }
  }
  for (int g = 0; g < 2; ++g) _mm512_storeu_ps(out[g], sums[g]);
}

}  // namespace

bool decode_pair(ElementType type, const std::byte* const (&groups)[2], std::int64_t columns,
                 const RoundedRow& x, float* const (&sums)[2]) {
  switch (type) {
    case ElementType::kQ8_0:
      decode_two<ElementType::kQ8_0>(groups, columns, x, sums);
      return true;
    case ElementType::kQ4_0:
      decode_two<ElementType::kQ4_0>(groups, columns, x, sums);
      return true;
    case ElementType::kIQ4_NL:
      decode_two<ElementType::kIQ4_NL>(groups, columns, x, sums);
      return true;
    default:
      return false;
  }
}

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
