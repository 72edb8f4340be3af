#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/element_type.h"

namespace tandem {

// How the scale of a sub-block is stored.
enum class ScaleForm : std::uint8_t {
  kHalf,          // value = d * level                               d: float16
  kHalfWithMin,   // value = d * level + m                           d, m: float16
  kExponent,      // value = 2^(e - 128) * level                     e: E8M0, one byte
  kSuper,         // value = d * scale[j] * level                    scale[j]: small integers
  kSuperWithMin,  // value = d * scale[j] * level - dmin * min[j]
};

// What the numbers in the blocks of a quantised type mean: a block holds unsigned codes; a code's
// level is table[code], or code - code_offset where there is no table; sub-blocks share a scale.
struct BlockScheme {
  std::int32_t block_elements;
  std::int32_t sub_block_elements;  // 16 or 32
  std::int32_t code_bits;           // 2 to 8
  std::int32_t code_offset;
  const std::int8_t* table;  // 16 levels, or null
  ScaleForm scale_form;
  std::int32_t scale_limit;  // the largest scale[j] (kSuper: of either sign); 0 elsewhere
};

// nullptr for the types that are no quantised blocks (F32, F16, BF16, I32).
const BlockScheme* block_scheme_of(ElementType type);

// One block's numbers, each in a byte of its own.
struct BlockCodes {
  std::uint8_t codes[256];  // in the order of the columns; the first block_elements count
  std::int8_t scales[16];   // one a sub-block, for kSuper and kSuperWithMin
  std::uint8_t mins[16];    // for kSuperWithMin
  std::uint16_t d;          // float16 bits, or e for kExponent
  std::uint16_t dmin;       // float16 bits: dmin, or m for kHalfWithMin
};

// Unpacks the bits of one block, and packs them again; each file block_codes_*.cpp draws the
// layouts of its types. `block` has traits_of(type).block_bytes bytes, of any alignment.
void unpack_block(ElementType type, const std::byte* block, BlockCodes& codes);
void pack_block(ElementType type, const BlockCodes& codes, std::byte* block);

// 2^(exponent - 128): half of an E8M0 number, because the levels of MXFP4 are stored doubled
// (ggml-impl.h, ggml_e8m0_to_fp32_half).
float half_of_e8m0(std::uint32_t exponent);

// The families behind unpack_block and pack_block.
namespace block_codes {
void unpack_legacy(ElementType type, const std::uint8_t* block, BlockCodes& codes);
void pack_legacy(ElementType type, const BlockCodes& codes, std::uint8_t* block);
void unpack_k(ElementType type, const std::uint8_t* block, BlockCodes& codes);
void pack_k(ElementType type, const BlockCodes& codes, std::uint8_t* block);
void unpack_table(ElementType type, const std::uint8_t* block, BlockCodes& codes);
void pack_table(ElementType type, const BlockCodes& codes, std::uint8_t* block);

// Nibbles as most types lay them: byte j holds number j below and number j + count / 2 above.
inline void unpack_nibbles(const std::uint8_t* bytes, int count, std::uint8_t* codes) {
  for (int j = 0; j < count / 2; ++j) {
    codes[j] = bytes[j] & 0x0f;
    codes[j + count / 2] = bytes[j] >> 4;
  }
}
inline void pack_nibbles(const std::uint8_t* codes, int count, std::uint8_t* bytes) {
  for (int j = 0; j < count / 2; ++j) {
    bytes[j] = static_cast<std::uint8_t>((codes[j] & 0x0f) | ((codes[j + count / 2] & 0x0f) << 4));
  }
}
// Little-endian 16-bit numbers.
inline std::uint16_t read_u16(const std::uint8_t* bytes) {
  return static_cast<std::uint16_t>(bytes[0] | (bytes[1] << 8));
}
inline void write_u16(std::uint16_t value, std::uint8_t* bytes) {
  bytes[0] = static_cast<std::uint8_t>(value);
  bytes[1] = static_cast<std::uint8_t>(value >> 8);
}
}  // namespace block_codes

}  // namespace tandem
