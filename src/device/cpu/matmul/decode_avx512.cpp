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

// Not _mm_prefetch: GCC 12 drops calls of what does nothing else.
[[gnu::always_inline]] inline void prefetch(const std::byte* at) {
  asm volatile("prefetcht0 %0" : : "m"(*at));
}

// When a line of memory is asked for, `ahead` bytes before it is used. All of a chunk's lines at
// once would fill the queue of misses and hold up the loads behind them.
enum class Ask : std::uint8_t {
  kWithBlock,  // with each block an eighth of a chunk's lines
  kWithQuad,   // the same, a line or two with each quad of the block
  kInStep      // each when the line `ahead` bytes before it is loaded
};

// How a weight is read: so many groups side by side, each a stream of memory of its own, and when
// its lines are asked for. Measured (docs/performance.md): the more rows of x, the more slowly
// lines are used and the more other loads get in between.
struct ReadPlan {
  int groups;
  Ask ask;
  int ahead;
};
constexpr ReadPlan read_plan(const PackedTraits& traits, int num_rows) {
  const bool super = traits.form == ScaleForm::kSuper || traits.form == ScaleForm::kSuperWithMin;
  const bool plain = !super && traits.form != ScaleForm::kHalfWithMin && traits.high_bits == 0;
  if (num_rows == 1 && plain) return {2, Ask::kInStep, 2048};
  if (num_rows <= 2 && super) return {2, Ask::kWithQuad, num_rows == 1 ? 3072 : 4096};
  if (num_rows <= 2) return {4, Ask::kWithQuad, 2048};
  if (traits.sub_block == 16) return {1, Ask::kWithBlock, 8192};
  if (num_rows <= 4) return {2, Ask::kWithQuad, 4096};
  return plain ? ReadPlan{1, Ask::kInStep, 8192} : ReadPlan{1, Ask::kWithBlock, 6144};
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
  static constexpr ReadPlan kPlan = read_plan(kTraits, kRows);
  static constexpr auto kScaleLines =
      static_cast<int>(ceil_div<std::int64_t>(scales_bytes(kTraits, 8), 64));
  static constexpr auto kBlockLines =
      static_cast<int>(ceil_div<std::int64_t>(chunk_bytes(kTraits, 8), 8 * 64));
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

  // Asks for lines of every group, if now is the time of the plan: with quad `quad` of a block, or
  // with the block (kWithBlock).
  template <Ask kNow>
  [[gnu::always_inline]] inline void ask(const Reader (&readers)[kGroups], int block,
                                         int quad) const {
    if constexpr (kPlan.ask == kNow) {
#pragma GCC unroll 4
      for (const Reader& reader : readers) {
        if constexpr (kNow == Ask::kInStep) {
          const auto in_plane = [&](const std::byte* plane, int bits) {
            if (quad < bits) prefetch(plane + 64 * (block * bits + quad) + kPlan.ahead);
          };
          in_plane(reader.low, kTraits.low_bits);
          in_plane(reader.high, kTraits.high_bits);
          if (quad == 4 && block < kScaleLines) {
            prefetch(reader.scales + 64 * block + kPlan.ahead);
          }
        } else {
          constexpr int kSteps = kNow == Ask::kWithQuad ? 8 : 1;
          const int end = (quad + 1) * kBlockLines / kSteps;
#pragma GCC unroll 16
          for (int line = quad * kBlockLines / kSteps; line < end; ++line) {
            prefetch(reader.scales + kPlan.ahead + 64 * (block * kBlockLines + line));
          }
        }
      }
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
      ask<Ask::kInStep>(readers, block, sub * kQuads + q);
      ask<Ask::kWithQuad>(readers, block, sub * kQuads + q);
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
    ask<Ask::kWithBlock>(readers, b, 0);
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
  for (int b = 0; b < num_blocks; ++b) decoder.block(readers, b);
  if constexpr (Decoder::kTraits.form == ScaleForm::kSuperWithMin) {
    (decoder.subtract_mins(readers[kG], static_cast<int>(kG)), ...);
  }
}

template <ElementType kType, int kRows>
void decode_rows(const RoundedKernels::Decode& decode) {
  constexpr int kGroups = read_plan(packed_traits(kType), kRows).groups;
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
  return read_plan(packed_traits(type), kernel_rows(num_rows)).groups;
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
