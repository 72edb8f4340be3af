#pragma once

#include <cstdint>

#include "tensor/element_type.h"

// How weights and activations lie in device memory for products on tensor cores: what CUDA devices
// repack to, and what plans for them reckon with.
//
// Weights. Rows are taken in groups of 16 and columns in chunks of 64 (32 for halves): what one
// warp multiplies with two `mma` instructions. In a chunk the codes stand in the order in which the
// lanes of a warp hold the A operand of mma.m16n8k32 (PTX ISA, "Matrix Fragments for
// mma.m16n8k32"), so that a lane's load of 16 bytes *is* its operand but for shifting bits apart, a
// warp reads 512 consecutive bytes, and nothing passes through shared memory. With lane = 4 g + t,
// register r of block b (32 columns) of a chunk holds
//
//   row g + 8 (r % 2), columns 32 b + 16 (r / 2) + 4 t + {0, 1, 2, 3}
//
// and a unit (one chunk, or the four of a K-quant's 256 columns) is
//
//   low plane [chunk][lane] | high plane [chunk][lane] | scales
//
//   codes of   low plane, bytes a lane and chunk             high plane
//   8 bits     32: as [b][lane] of 16 bytes, a byte a code   -
//   4 bits     16: word 2 b + r / 2, bits 4 (r % 2) + 8 i    -
//   (table)    16: word 2 b + r / 2, bits 16 (r % 2) + 4 i   -
//   5 bits     16, as 4 bits                                 4: bit r + 4 b + 8 i
//   6 bits     16, as 4 bits                                 8: word b, bits 2 r + 8 i
//   2 bits     8: word b, bits 2 r + 8 i                     -
//   3 bits     8, as 2 bits                                  4: bit r + 4 b + 8 i
//
// where i is the column within the four. Types whose levels are centred (code - 2^(bits - 1)) keep
// them in two's complement: a kernel shifts a level to the top of its byte and folds the power of
// two into the scale. Scales of a unit, h = 0, 1 for the rows g and g + 8:
//
//   Q8_0 Q4_0 Q5_0 IQ4_NL  d: float16 [g][h][b]
//   Q4_1 Q5_1              (d, m): float16 [g][h][b][2]
//   MXFP4                  e: uint8 [g][h][b]
//   Q4_K Q5_K              [row] of 16 bytes: d, dmin: float16; the low four bits of eight scales;
//                          the same of eight mins; for each the high two bits of both,
//                          scale | min << 2, four bits a sub-block
//   Q6_K Q3_K              scale: int8 [chunk][row][4], then d: float16 [g][h]
//   Q2_K                   scale | min << 4: uint8 [chunk][row][4], then (d, dmin) [g][h][2]
//   IQ4_XS                 [row] of 8 bytes: d, the scales' high bits, their low bits, as in the
//   file
//
// Every size is that of the file's blocks, but for Q3_K, whose scales of six bits take eight
// (+3.6 %), rows that fill the last group, and columns that fill the last chunk. Filling is zeroes.
//
// Halves (F16, BF16): a chunk is 32 columns; [b][lane] of 16 bytes, register r of block b (16
// columns) holding row g + 8 (r % 2), columns 16 b + 8 (r / 2) + 2 t + {0, 1} (mma.m16n8k16).
//
// Activations. Rounded rows lie as [chunk][row of x][64 bytes]; in a chunk, lane t's 16 bytes are
// its B operands: register r (0, 1) of block b holds columns 32 b + 16 r + 4 t + {0, 1, 2, 3}
// (bytes) or 16 b + 8 r + 2 t + {0, 1} (halves). Eight rows are the 512 bytes of one load.

namespace tandem::cuda {

inline constexpr int kGroupRows = 16;
inline constexpr int kChunkBytes = 64;  // of one row of activations

// What the codes of a type are, to a kernel.
enum class LevelForm : std::uint8_t {
  kBytes,     // int8 levels
  kCentred,   // two's complement of `bits` bits
  kUnsigned,  // as they are; there is a min
  kIq4,       // indices of the table of IQ4_NL
  kE2m1,      // indices of the table of MXFP4
  kHalves,    // no codes: float16 or bfloat16
};
enum class ScaleLayout : std::uint8_t {
  kHalf,
  kHalfWithMin,
  kExponent,
  kPackedSix,  // Q4_K, Q5_K
  kInt8,       // Q6_K, Q3_K
  kNibbles,    // Q2_K
  kIq4Xs,
  kNone,
};

struct FragmentTraits {
  LevelForm levels;
  ScaleLayout scales;
  int bits;          // of a code
  int chunks;        // in a unit
  int low_bytes;     // of a chunk
  int high_bytes;    // of a chunk
  int scales_bytes;  // of a unit

  constexpr int chunk_columns() const { return levels == LevelForm::kHalves ? 32 : 64; }
  constexpr int unit_columns() const { return chunks * chunk_columns(); }
  constexpr int unit_bytes() const { return chunks * (low_bytes + high_bytes) + scales_bytes; }
  constexpr bool has_min() const {
    return scales == ScaleLayout::kHalfWithMin || scales == ScaleLayout::kPackedSix ||
           scales == ScaleLayout::kNibbles;
  }
  // Do 16 columns share a scale, and not 32?
  constexpr bool has_small_blocks() const {
    return scales == ScaleLayout::kInt8 || scales == ScaleLayout::kNibbles;
  }
  // Columns of a row, filled up to whole units.
  constexpr std::int64_t num_units(std::int64_t columns) const {
    return (columns + unit_columns() - 1) / unit_columns();
  }
  constexpr std::int64_t group_bytes(std::int64_t columns) const {
    return num_units(columns) * unit_bytes();
  }
};

// For every type but F32 (rows as in the file) and I32 (no weights).
constexpr FragmentTraits fragment_traits(ElementType type) {
  using enum LevelForm;
  switch (type) {
    case ElementType::kQ8_0:
      return {kBytes, ScaleLayout::kHalf, 8, 1, 1024, 0, 64};
    case ElementType::kQ4_0:
      return {kCentred, ScaleLayout::kHalf, 4, 1, 512, 0, 64};
    case ElementType::kQ4_1:
      return {kUnsigned, ScaleLayout::kHalfWithMin, 4, 1, 512, 0, 128};
    case ElementType::kQ5_0:
      return {kCentred, ScaleLayout::kHalf, 5, 1, 512, 128, 64};
    case ElementType::kQ5_1:
      return {kUnsigned, ScaleLayout::kHalfWithMin, 5, 1, 512, 128, 128};
    case ElementType::kQ2_K:
      return {kUnsigned, ScaleLayout::kNibbles, 2, 4, 256, 0, 256 + 64};
    case ElementType::kQ3_K:
      return {kCentred, ScaleLayout::kInt8, 3, 4, 256, 128, 256 + 32};
    case ElementType::kQ4_K:
      return {kUnsigned, ScaleLayout::kPackedSix, 4, 4, 512, 0, 256};
    case ElementType::kQ5_K:
      return {kUnsigned, ScaleLayout::kPackedSix, 5, 4, 512, 128, 256};
    case ElementType::kQ6_K:
      return {kCentred, ScaleLayout::kInt8, 6, 4, 512, 256, 256 + 32};
    case ElementType::kIQ4_NL:
      return {kIq4, ScaleLayout::kHalf, 4, 1, 512, 0, 64};
    case ElementType::kIQ4_XS:
      return {kIq4, ScaleLayout::kIq4Xs, 4, 4, 512, 0, 128};
    case ElementType::kMXFP4:
      return {kE2m1, ScaleLayout::kExponent, 4, 1, 512, 0, 32};
    default:  // kF16, kBF16
      return {kHalves, ScaleLayout::kNone, 16, 1, 1024, 0, 0};
  }
}

// Bytes of one matrix of `rows` x `columns`.
constexpr std::int64_t packed_bytes(ElementType type, std::int64_t rows, std::int64_t columns) {
  return (rows + kGroupRows - 1) / kGroupRows * fragment_traits(type).group_bytes(columns);
}

// The forms that activations are rounded to.
enum class RoundedForm : std::uint8_t {
  kInt8,  // bytes, a scale for each 32 columns: largest magnitude / 127. For quantised weights.
  kF16,   // float16 times a power of two a row, so that no finite row overflows. For F16 weights.
  kBf16,  // for BF16 weights
};
constexpr RoundedForm rounded_form_for(ElementType weight) {
  return weight == ElementType::kF16    ? RoundedForm::kF16
         : weight == ElementType::kBF16 ? RoundedForm::kBf16
                                        : RoundedForm::kInt8;
}
constexpr int chunk_columns(RoundedForm form) {
  return form == RoundedForm::kInt8 ? 64 : 32;
}
// Rows are filled up to a multiple of this.
inline constexpr std::int64_t kRoundedRowGranule = 64;

// Bytes of `rows` x `columns` activations in that form: codes and, kInt8, for each block of 32
// columns a scale, the sum of its codes and those of its halves; else a factor a row.
constexpr std::int64_t rounded_bytes(RoundedForm form, std::int64_t rows, std::int64_t columns) {
  const std::int64_t pad =
      (rows + kRoundedRowGranule - 1) / kRoundedRowGranule * kRoundedRowGranule;
  const std::int64_t chunks = (columns + chunk_columns(form) - 1) / chunk_columns(form);
  const std::int64_t codes = chunks * pad * kChunkBytes;
  return codes + pad * 4 * (form == RoundedForm::kInt8 ? 2 * chunks * 4 : 1);
}

}  // namespace tandem::cuda
