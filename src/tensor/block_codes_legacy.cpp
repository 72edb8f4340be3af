#include "base/check.h"
#include "tensor/block_codes.h"

// Blocks of 32 with one scale (ggml-common.h, block_q4_0 and kin). Sizes in bytes:
//
//   Q8_0   d:2  qs:32            qs[j] = level j, signed
//   Q4_0   d:2  qs:16            qs[j] = code j | code j+16 << 4
//   Q4_1   d:2  m:2  qs:16       as Q4_0
//   Q5_0   d:2  qh:4  qs:16      as Q4_0 for the low four bits; bit j of qh = code j's fifth
//   Q5_1   d:2  m:2  qh:4  qs:16 as Q5_0

namespace tandem::block_codes {
namespace {

std::uint32_t read_u32(const std::uint8_t* bytes) {
  return read_u16(bytes) | (std::uint32_t{read_u16(bytes + 2)} << 16);
}

void unpack_fifth_bits(const std::uint8_t* qh, std::uint8_t* codes) {
  const std::uint32_t bits = read_u32(qh);
  for (int j = 0; j < 32; ++j) {
    codes[j] = static_cast<std::uint8_t>(codes[j] | (((bits >> j) & 1) << 4));
  }
}

void pack_fifth_bits(const std::uint8_t* codes, std::uint8_t* qh) {
  std::uint32_t bits = 0;
  for (int j = 0; j < 32; ++j) bits |= std::uint32_t{(codes[j] >> 4) & 1u} << j;
  write_u16(static_cast<std::uint16_t>(bits), qh);
  write_u16(static_cast<std::uint16_t>(bits >> 16), qh + 2);
}

}  // namespace

void unpack_legacy(ElementType type, const std::uint8_t* block, BlockCodes& codes) {
  codes.d = read_u16(block);
  switch (type) {
    case ElementType::kQ8_0:
      for (int j = 0; j < 32; ++j) codes.codes[j] = block[2 + j] ^ 0x80;  // level + 128
      return;
    case ElementType::kQ4_0:
      return unpack_nibbles(block + 2, 32, codes.codes);
    case ElementType::kQ4_1:
      codes.dmin = read_u16(block + 2);
      return unpack_nibbles(block + 4, 32, codes.codes);
    case ElementType::kQ5_0:
      unpack_nibbles(block + 6, 32, codes.codes);
      return unpack_fifth_bits(block + 2, codes.codes);
    case ElementType::kQ5_1:
      codes.dmin = read_u16(block + 2);
      unpack_nibbles(block + 8, 32, codes.codes);
      return unpack_fifth_bits(block + 4, codes.codes);
    default:
      check_failed(__FILE__, __LINE__, "a type of this family", traits_of(type).name);
  }
}

void pack_legacy(ElementType type, const BlockCodes& codes, std::uint8_t* block) {
  write_u16(codes.d, block);
  switch (type) {
    case ElementType::kQ8_0:
      for (int j = 0; j < 32; ++j) block[2 + j] = codes.codes[j] ^ 0x80;
      return;
    case ElementType::kQ4_0:
      return pack_nibbles(codes.codes, 32, block + 2);
    case ElementType::kQ4_1:
      write_u16(codes.dmin, block + 2);
      return pack_nibbles(codes.codes, 32, block + 4);
    case ElementType::kQ5_0:
      pack_fifth_bits(codes.codes, block + 2);
      return pack_nibbles(codes.codes, 32, block + 6);
    case ElementType::kQ5_1:
      write_u16(codes.dmin, block + 2);
      pack_fifth_bits(codes.codes, block + 4);
      return pack_nibbles(codes.codes, 32, block + 8);
    default:
      check_failed(__FILE__, __LINE__, "a type of this family", traits_of(type).name);
  }
}

}  // namespace tandem::block_codes
