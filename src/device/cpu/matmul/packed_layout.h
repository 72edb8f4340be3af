#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "device/cpu/instruction_set.h"
#include "tensor/block_codes.h"
#include "tensor/element_type.h"

namespace tandem {

// Rows are packed in groups of 16, one row a lane of a 512-bit register of 32-bit numbers, so that
// one broadcast of four activations feeds 16 rows and no sum ever crosses lanes. A group's columns
// come in chunks of 256 (the last may be shorter), and a chunk is
//
//   scales | low plane | high plane
//
// A plane of b bits a code (8, 4, 2 or 1) holds for every 32 columns b registers of 64 bytes. Four
// neighbouring columns of 16 rows are 64 codes in the order [row][column], a "quad"; register z
// holds the quads z, z + b, z + 2b, ... one above the other in the bits of each byte:
//
//   b = 4   byte = quad z | quad z + 4 << 4                       e.g. columns 0-3 and 16-19
//   b = 2   byte = quad z | quad z + 2 << 2 | quad z + 4 << 4 | quad z + 6 << 6
//   b = 1   byte = quad 0 | quad 1 << 1 | ... | quad 7 << 7
//
// Scales, each [...][16 rows], with n blocks of 32 columns or s sub-blocks in the chunk:
//
//   kHalf         d: float16 [n]
//   kHalfWithMin  d: float16 [n], m: float16 [n]
//   kExponent     e: uint8 [n]
//   kSuper        d: float16 [1], scale: int8 [s], padding
//   kSuperWithMin d: float16 [1], dmin: float16 [1], then
//                 sub-blocks of 32: scale: uint8 [8], min: uint8 [4][16 rows][2] (pairs 2p, 2p+1)
//                 sub-blocks of 16: scale | min << 4: uint8 [16]
//
// Every number keeps its bits; only where the file packs scales into six bits do they take eight.
inline constexpr int kGroupRows = 16;
inline constexpr int kChunkColumns = 256;
inline constexpr int kQuadBytes = 64;

enum class LevelTable : std::uint8_t { kNone, kIq4, kE2m1 };

struct PackedTraits {
  int low_bits;      // of a code, in the low plane: 8, 4 or 2
  int high_bits;     // in the high plane: 0, 1 or 2
  int sub_block;     // columns that share a scale: 16 or 32
  int level_offset;  // kernels add it to a level, so that levels are bytes without a sign
  LevelTable table;  // what turns a code into a level
  ScaleForm form;
  int padding;  // bytes after the scales of a chunk

  constexpr bool has_min() const {
    return form == ScaleForm::kHalfWithMin || form == ScaleForm::kSuperWithMin;
  }
};

// For quantised types only.
constexpr PackedTraits packed_traits(ElementType type) {
  using enum ScaleForm;
  switch (type) {
    case ElementType::kQ8_0:
      return {8, 0, 32, 128, LevelTable::kNone, kHalf, 0};
    case ElementType::kQ4_0:
      return {4, 0, 32, 8, LevelTable::kNone, kHalf, 0};
    case ElementType::kQ4_1:
      return {4, 0, 32, 0, LevelTable::kNone, kHalfWithMin, 0};
    case ElementType::kQ5_0:
      return {4, 1, 32, 16, LevelTable::kNone, kHalf, 0};
    case ElementType::kQ5_1:
      return {4, 1, 32, 0, LevelTable::kNone, kHalfWithMin, 0};
    case ElementType::kQ2_K:
      return {2, 0, 16, 0, LevelTable::kNone, kSuperWithMin, 0};
    case ElementType::kQ3_K:
      return {2, 1, 16, 4, LevelTable::kNone, kSuper, 0};
    case ElementType::kQ4_K:
      return {4, 0, 32, 0, LevelTable::kNone, kSuperWithMin, 0};
    case ElementType::kQ5_K:
      return {4, 1, 32, 0, LevelTable::kNone, kSuperWithMin, 0};
    case ElementType::kQ6_K:
      return {4, 2, 16, 32, LevelTable::kNone, kSuper, 32};
    case ElementType::kIQ4_NL:
      return {4, 0, 32, 128, LevelTable::kIq4, kHalf, 0};
    case ElementType::kIQ4_XS:
      return {4, 0, 32, 128, LevelTable::kIq4, kSuper, 32};
    default:  // kMXFP4
      return {4, 0, 32, 16, LevelTable::kE2m1, kExponent, 0};
  }
}

// Bytes of one group's parts of a chunk of `num_blocks` times 32 columns.
constexpr std::int64_t scales_bytes(const PackedTraits& traits, int num_blocks) {
  const int subs = num_blocks * 32 / traits.sub_block;
  switch (traits.form) {
    case ScaleForm::kHalf:
      return 32 * num_blocks;
    case ScaleForm::kHalfWithMin:
      return 64 * num_blocks;
    case ScaleForm::kExponent:
      return 16 * num_blocks;
    case ScaleForm::kSuper:
      return 32 + 16 * subs + traits.padding;
    case ScaleForm::kSuperWithMin:
      return 64 + 16 * subs * (traits.sub_block == 32 ? 2 : 1);
  }
  return 0;
}
constexpr std::int64_t low_plane_bytes(const PackedTraits& traits, int num_blocks) {
  return std::int64_t{num_blocks} * traits.low_bits * kQuadBytes;
}
constexpr std::int64_t chunk_bytes(const PackedTraits& traits, int num_blocks) {
  return scales_bytes(traits, num_blocks) + low_plane_bytes(traits, num_blocks) +
         std::int64_t{num_blocks} * traits.high_bits * kQuadBytes;
}

// Of chunk `chunk_index` of a row of `columns`: 8, or fewer in the last chunk.
constexpr int blocks_in_chunk(std::int64_t columns, std::int64_t chunk_index) {
  const std::int64_t left = columns - chunk_index * kChunkColumns;
  return static_cast<int>((left < kChunkColumns ? left : kChunkColumns) / 32);
}

// Bytes of a group of 16 rows; also for F32 and F16, [column][16 rows], and BF16,
// [column / 2][16 rows][2], with a zero after an odd last column.
std::int64_t packed_group_bytes(ElementType type, std::int64_t columns);

// Packs up to 16 rows, each bytes_of(type, columns) bytes, into packed_group_bytes() at `group`.
// Lanes without a row are zeroes. Every instruction set packs the same bytes.
void pack_group(ElementType type, std::int64_t columns, std::span<const std::byte* const> rows,
                std::byte* group, InstructionSet set);

// The levels of a table with the offset added, as the kernels look them up.
std::span<const std::uint8_t, 16> offset_levels(LevelTable table);

}  // namespace tandem
