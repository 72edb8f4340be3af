#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512.h"

#include "device/cpu/matmul/packed_reader_avx512.h"

// A few groups of 16 rows times a few rows of x, block by block of 32 columns: a weight is unpacked
// in a register and used for all rows of x, an activation is loaded once for all groups. Each group
// is a stream of memory of its own; up to eight sums, and the eight integers of a block that are
// added to them, leave no register to spill.

namespace tandem::avx512 {
namespace {

// How far ahead of its use a line is asked for. With several rows of x the lines are used more
// slowly, but other loads get in between.
constexpr std::int64_t prefetch_bytes(const PackedTraits& traits, int num_groups, int num_rows) {
  if (num_rows == 1) return num_groups == 1 ? 3072 : 2048;
  return num_rows <= 4 || traits.low_bits == 8 ? 4096 : 6144;
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

// One row of x and weights with sub-blocks of 16, which take more unpacking, are read fastest as
// one stream.
constexpr int groups_at_once(const PackedTraits& traits, int num_rows) {
  if (num_rows == 1 && traits.sub_block == 16) return 1;
  return num_rows <= 2 ? 4 : num_rows <= 4 ? 2 : 1;
}
// The kernel that computes num_rows rows of x: those beyond are computed as the last of them once
// more, which costs less than another pass.
constexpr int kernel_rows(int num_rows) {
  return num_rows <= 4 ? num_rows : num_rows <= 6 ? 6 : 8;
}

// What kGroups groups times kRows rows of x work on.
template <int kGroups, int kRows>
struct Operands {
  const std::byte* groups[kGroups];
  RoundedRow x[kRows];
  __m512 sums[kGroups][kRows];
};

template <ElementType kType, int kGroups, int kRows>
struct ChunkDecoder {
  static constexpr PackedTraits kTraits = packed_traits(kType);
  static constexpr int kSubs = 32 / kTraits.sub_block;
  static constexpr int kQuads = 8 / kSubs;
  using Reader = ChunkReader<kType>;

  Operands<kGroups, kRows>& on;
  const RoundedChunk* chunks[kRows];
  const std::int32_t* starts[kRows];

  [[gnu::always_inline]] inline ChunkDecoder(Operands<kGroups, kRows>& operands,
                                             std::int64_t chunk_index)
      : on(operands) {
    for (int i = 0; i < kRows; ++i) {
      chunks[i] = &on.x[i].chunk(chunk_index);
      starts[i] = on.x[i].start(chunk_index);
    }
  }

  // The dot products of sub-block j with the levels of all groups.
  [[gnu::always_inline]] inline void multiply(const Reader (&readers)[kGroups], int block, int sub,
                                              __m512i (&dots)[kGroups][kRows]) const {
    const int j = block * kSubs + sub;
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const __m512i start = _mm512_set1_epi32(starts[i][j]);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) dots[g][i] = start;
    }
#pragma GCC unroll 8
    for (int q = 0; q < kQuads; ++q) {
      __m512i weights[kGroups];
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        weights[g] = readers[g].level(block, sub * kQuads + q);
        // Without this GCC unpacks them again for each use.
        asm("" : "+v"(weights[g]));
      }
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const __m512i codes = broadcast_quad(chunks[i]->codes + j * kTraits.sub_block + 4 * q);
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          dots[g][i] = _mm512_dpbusd_epi32(dots[g][i], weights[g], codes);
        }
      }
    }
  }

  [[gnu::always_inline]] inline void block(const Reader (&readers)[kGroups], int b) const {
    __m512 u[kGroups][kRows];
#pragma GCC unroll 2
    for (int s = 0; s < kSubs; ++s) {
      __m512i dots[kGroups][kRows];
      multiply(readers, b, s, dots);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        const __m512 scale = readers[g].scale(b * kSubs + s);
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
          const __m512 product =
              _mm512_sub_ps(_mm512_castsi512_ps(dots[g][i]), _mm512_set1_ps(kRounder));
          u[g][i] =
              s == 0 ? _mm512_mul_ps(product, scale) : _mm512_fmadd_ps(product, scale, u[g][i]);
        }
      }
    }
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        __m512& sum = on.sums[g][i];
        sum = _mm512_fmadd_ps(u[g][i], _mm512_set1_ps(chunks[i]->scales[b]), sum);
        if constexpr (kTraits.form == ScaleForm::kHalfWithMin) {
          sum = _mm512_fmadd_ps(_mm512_set1_ps(chunks[i]->sums[b]), readers[g].shift(b), sum);
        }
      }
    }
  }

  // kSuperWithMin: the mins of the whole chunk.
  [[gnu::always_inline]] inline void subtract_mins(const Reader& reader, int g) const {
    constexpr bool kNarrow = kTraits.sub_block == 16;
    __m512i mins[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) mins[i] = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int p = 0; p < (kNarrow ? 8 : 4); ++p) {
      const __m512i pair = reader.min_pair(p);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const std::uint32_t sum = kNarrow ? chunks[i]->sum_pairs_16[p] : chunks[i]->sum_pairs_32[p];
        mins[i] = _mm512_dpwssd_epi32(mins[i], pair, _mm512_set1_epi32(static_cast<int>(sum)));
      }
    }
    const __m512 min_scale = reader.min_scale();
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const float scale = kNarrow ? chunks[i]->pair_scale_16 : chunks[i]->pair_scale_32;
      const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(mins[i]), min_scale);
      on.sums[g][i] = _mm512_fmadd_ps(product, _mm512_set1_ps(scale), on.sums[g][i]);
    }
  }
};

template <ElementType kType, int kGroups, int kRows, std::size_t... kG>
[[gnu::always_inline]] inline void decode_chunk(Operands<kGroups, kRows>& on,
                                                std::int64_t chunk_index, int num_blocks,
                                                std::index_sequence<kG...>) {
  using Decoder = ChunkDecoder<kType, kGroups, kRows>;
  constexpr std::int64_t kChunkBytes = chunk_bytes(Decoder::kTraits, 8);
  const Decoder decoder(on, chunk_index);
  const std::byte* const bytes[kGroups] = {(on.groups[kG] + chunk_index * kChunkBytes)...};
  const typename Decoder::Reader readers[kGroups] = {
      typename Decoder::Reader(bytes[kG], num_blocks)...};
  for (int b = 0; b < num_blocks; ++b) {
    (prefetch_block<kType>(bytes[kG] + prefetch_bytes(Decoder::kTraits, kGroups, kRows), b), ...);
    decoder.block(readers, b);
  }
  if constexpr (Decoder::kTraits.form == ScaleForm::kSuperWithMin) {
    (decoder.subtract_mins(readers[kG], static_cast<int>(kG)), ...);
  }
}

template <ElementType kType, int kRows>
void decode_rows(const RoundedKernels::Decode& decode) {
  constexpr int kGroups = groups_at_once(packed_traits(kType), kRows);
  constexpr std::make_index_sequence<kGroups> kIndices{};
  Operands<kGroups, kRows> on;
  for (int i = 0; i < kRows; ++i) on.x[i] = decode.x[std::min(i, decode.num_rows - 1)];
  for (int g = 0; g < kGroups; ++g) {
    on.groups[g] = decode.groups[g];
    for (int i = 0; i < kRows; ++i) on.sums[g][i] = _mm512_setzero_ps();
  }
  const std::int64_t whole = decode.columns / kChunkColumns;
  for (std::int64_t c = 0; c < whole; ++c) decode_chunk<kType>(on, c, 8, kIndices);
  if (const int rest = static_cast<int>(decode.columns % kChunkColumns / 32); rest > 0) {
    decode_chunk<kType>(on, whole, rest, kIndices);
  }
  for (int g = 0; g < kGroups; ++g) {
    for (int i = 0; i < decode.num_rows; ++i) {
      _mm512_storeu_ps(decode.sums[g] + i * kPanelRows, on.sums[g][i]);
    }
  }
}

}  // namespace

int decode_groups(ElementType type, int num_rows) {
  return groups_at_once(packed_traits(type), kernel_rows(num_rows));
}

void decode(const RoundedKernels::Decode& decode) {
  with_type(decode.type, [&]<ElementType kType>() {
    switch (kernel_rows(decode.num_rows)) {
      case 1:
        return decode_rows<kType, 1>(decode);
      case 2:
        return decode_rows<kType, 2>(decode);
      case 3:
        return decode_rows<kType, 3>(decode);
      case 4:
        return decode_rows<kType, 4>(decode);
      case 6:
        return decode_rows<kType, 6>(decode);
      default:
        return decode_rows<kType, 8>(decode);
    }
  });
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
