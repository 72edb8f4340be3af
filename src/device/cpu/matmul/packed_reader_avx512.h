// No guard and no includes of its own: part of the AVX-512 kernels, between target_begin_avx512.h
// and target_end.h. Reads the packed layout of packed_layout.h into registers.

namespace tandem::avx512 {
namespace {

[[gnu::always_inline]] inline __m512i load_512(const void* bytes) {
  return _mm512_loadu_si512(bytes);
}
[[gnu::always_inline]] inline __m256i load_256(const void* bytes) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}
[[gnu::always_inline]] inline __m128i load_128(const void* bytes) {
  return _mm_loadu_si128(static_cast<const __m128i*>(bytes));
}

// Moves bit `from` of every byte to bit `to`; bits that cross into a neighbour are masked away
// later.
template <int kFrom, int kTo>
[[gnu::always_inline]] inline __m512i move_bits(__m512i bytes) {
  if constexpr (kFrom < kTo) return _mm512_slli_epi16(bytes, kTo - kFrom);
  if constexpr (kFrom > kTo) return _mm512_srli_epi16(bytes, kFrom - kTo);
  return bytes;
}

// q |= the kBits-bit field at kFrom of every byte of `plane`, moved to bit kTo.
template <int kBits, int kFrom, int kTo>
[[gnu::always_inline]] inline __m512i add_field(__m512i q, __m512i plane) {
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(((1 << kBits) - 1) << kTo));
  return _mm512_ternarylogic_epi32(q, move_bits<kFrom, kTo>(plane), mask, 0xf8);  // q | (p & m)
}

template <int kBits, int kTo, int kQuad>
[[gnu::always_inline]] inline void add_quads(const std::byte* plane, __m512i (&quads)[8]) {
  if constexpr (kQuad < 8) {
    const __m512i bytes = load_512(plane + (kQuad % kBits) * kQuadBytes);
    quads[kQuad] = add_field<kBits, kQuad / kBits * kBits, kTo>(quads[kQuad], bytes);
    add_quads<kBits, kTo, kQuad + 1>(plane, quads);
  }
}

// The kBits-bit field of quad `quad` in a plane, moved to bit kTo of every byte; bits of neighbours
// beside it.
template <int kBits, int kTo>
[[gnu::always_inline]] inline __m512i moved_field(const std::byte* plane, int quad) {
  const __m512i bytes = load_512(plane + quad % kBits * kQuadBytes);
  const int from = quad / kBits * kBits;
  if (from == kTo) return bytes;
  return from < kTo ? _mm512_slli_epi16(bytes, static_cast<unsigned>(kTo - from))
                    : _mm512_srli_epi16(bytes, static_cast<unsigned>(from - kTo));
}
template <int kBits, int kTo>
[[gnu::always_inline]] inline __m512i field_mask() {
  return _mm512_set1_epi8(static_cast<char>(((1 << kBits) - 1) << kTo));
}

// One chunk of one group of type kType.
template <ElementType kType>
struct ChunkReader {
  static constexpr PackedTraits kTraits = packed_traits(kType);
  static constexpr bool kSuper =
      kTraits.form == ScaleForm::kSuper || kTraits.form == ScaleForm::kSuperWithMin;
  static constexpr int kIntegersAt = kTraits.form == ScaleForm::kSuperWithMin ? 64 : 32;

  const std::byte* scales;
  const std::byte* low;
  const std::byte* high;
  int num_blocks;
  __m512 d;
  __m512i table;  // of levels, where there is one

  [[gnu::always_inline]] inline ChunkReader(const std::byte* chunk, int blocks)
      : scales(chunk), num_blocks(blocks) {
    low = chunk + scales_bytes(kTraits, blocks);
    high = low + low_plane_bytes(kTraits, blocks);
    if constexpr (kSuper) d = _mm512_cvtph_ps(load_256(chunk));
    // Not where it is used: offset_levels() is a call.
    if constexpr (kTraits.table != LevelTable::kNone) {
      table = _mm512_broadcast_i32x4(load_128(offset_levels(kTraits.table).data()));
    }
  }

  // The levels of 32 columns, offset added.
  [[gnu::always_inline]] inline void levels(int block, __m512i (&quads)[8]) const {
    const std::byte* at = low + block * (kTraits.low_bits * kQuadBytes);
    if constexpr (kTraits.low_bits == 8) {
      for (int i = 0; i < 8; ++i) quads[i] = load_512(at + i * kQuadBytes);
    } else {
      for (int i = 0; i < 8; ++i) quads[i] = _mm512_setzero_si512();
      add_quads<kTraits.low_bits, 0, 0>(at, quads);
    }
    if constexpr (kTraits.high_bits > 0) {
      add_quads<kTraits.high_bits, kTraits.low_bits, 0>(
          high + block * (kTraits.high_bits * kQuadBytes), quads);
    }
    if constexpr (kTraits.table != LevelTable::kNone) {
      for (int i = 0; i < 8; ++i) quads[i] = _mm512_shuffle_epi8(table, quads[i]);
    }
  }

  // One of them: `quad` is a constant where this is inlined.
  [[gnu::always_inline]] inline __m512i level(int block, int quad) const {
    const std::byte* at = low + block * (kTraits.low_bits * kQuadBytes);
    constexpr int kLow = kTraits.low_bits;
    __m512i q = moved_field<kLow, 0>(at, quad);
    if constexpr (kLow < 8) q = _mm512_and_si512(q, field_mask<kLow, 0>());
    if constexpr (kTraits.high_bits > 0) {
      const __m512i bits = moved_field<kTraits.high_bits, kLow>(
          high + block * (kTraits.high_bits * kQuadBytes), quad);
      q = _mm512_ternarylogic_epi32(q, bits, field_mask<kTraits.high_bits, kLow>(), 0xf8);
    }
    if constexpr (kTraits.table != LevelTable::kNone) {
      q = _mm512_shuffle_epi8(table, q);
    }
    return q;
  }

  // The scale of sub-block j for 16 rows.
  [[gnu::always_inline]] inline __m512 scale(int j) const {
    if constexpr (kTraits.form == ScaleForm::kExponent) {
      const __m512i e = _mm512_cvtepu8_epi32(load_128(scales + 16 * j));
      const __m512i one = _mm512_set1_epi32(1);
      const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
      const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
      const __mmask16 is_subnormal = _mm512_cmple_epi32_mask(e, one);
      return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_subnormal, subnormal));
    } else if constexpr (kSuper) {
      __m512i integer = _mm512_cvtepi8_epi32(load_128(scales + kIntegersAt + 16 * j));
      if constexpr (kType == ElementType::kQ2_K) {
        integer = _mm512_and_si512(integer, _mm512_set1_epi32(0x0f));
      }
      return _mm512_mul_ps(d, _mm512_cvtepi32_ps(integer));
    } else {
      return _mm512_cvtph_ps(load_256(scales + 32 * j));
    }
  }

  // m of a block (kHalfWithMin).
  [[gnu::always_inline]] inline __m512 shift(int block) const {
    return _mm512_cvtph_ps(load_256(scales + 32 * (num_blocks + block)));
  }

  // The mins of sub-blocks 2p and 2p + 1 as pairs of 16 bits, and -dmin (kSuperWithMin).
  [[gnu::always_inline]] inline __m512i min_pair(int p) const {
    if constexpr (kTraits.sub_block == 32) {
      return _mm512_cvtepu8_epi16(load_256(scales + kIntegersAt + 16 * 8 + 32 * p));
    } else {
      const __m512i even = _mm512_cvtepu8_epi32(load_128(scales + kIntegersAt + 32 * p));
      const __m512i odd = _mm512_cvtepu8_epi32(load_128(scales + kIntegersAt + 32 * p + 16));
      const __m512i odd_min = _mm512_and_si512(odd, _mm512_set1_epi32(0xf0));
      return _mm512_or_si512(_mm512_srli_epi32(even, 4), _mm512_slli_epi32(odd_min, 12));
    }
  }
  [[gnu::always_inline]] inline __m512 min_scale() const {
    return _mm512_mul_ps(_mm512_cvtph_ps(load_256(scales + 32)), _mm512_set1_ps(-1.0f));
  }
};

// Calls f.operator()<kType>() for a quantised type.
template <typename F>
[[gnu::always_inline]] inline void with_type(ElementType type, F f) {
  switch (type) {
    case ElementType::kQ8_0:
      return f.template operator()<ElementType::kQ8_0>();
    case ElementType::kQ4_0:
      return f.template operator()<ElementType::kQ4_0>();
    case ElementType::kQ4_1:
      return f.template operator()<ElementType::kQ4_1>();
    case ElementType::kQ5_0:
      return f.template operator()<ElementType::kQ5_0>();
    case ElementType::kQ5_1:
      return f.template operator()<ElementType::kQ5_1>();
    case ElementType::kQ2_K:
      return f.template operator()<ElementType::kQ2_K>();
    case ElementType::kQ3_K:
      return f.template operator()<ElementType::kQ3_K>();
    case ElementType::kQ4_K:
      return f.template operator()<ElementType::kQ4_K>();
    case ElementType::kQ5_K:
      return f.template operator()<ElementType::kQ5_K>();
    case ElementType::kQ6_K:
      return f.template operator()<ElementType::kQ6_K>();
    case ElementType::kIQ4_NL:
      return f.template operator()<ElementType::kIQ4_NL>();
    case ElementType::kIQ4_XS:
      return f.template operator()<ElementType::kIQ4_XS>();
    case ElementType::kMXFP4:
      return f.template operator()<ElementType::kMXFP4>();
    default:
      check_failed(__FILE__, __LINE__, "a quantised type", traits_of(type).name);
  }
}

// Four activations for all lanes.
[[gnu::always_inline]] inline __m512i broadcast_quad(const std::int8_t* codes) {
  std::int32_t quad;
  std::memcpy(&quad, codes, 4);
  return _mm512_set1_epi32(quad);
}

}  // namespace
}  // namespace tandem::avx512
