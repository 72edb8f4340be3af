#include "base/check.h"
#include "tensor/block_codes.h"

// Four-bit codes that a table turns into levels (ggml-common.h, block_iq4_nl and kin):
//
//   IQ4_NL  d:2  qs:16                            qs[j] = code j | code j+16 << 4
//   MXFP4   e:1  qs:16                            as IQ4_NL
//   IQ4_XS  d:2  scales_h:2  scales_l:4  qs:128   eight IQ4_NL blocks after one another;
//           scale j + 32 has its low four bits in nibble j of scales_l, its two high bits at bit 2j
//           of scales_h

namespace tandem::block_codes {

void unpack_table(ElementType type, const std::uint8_t* block, BlockCodes& codes) {
  switch (type) {
    case ElementType::kIQ4_NL:
      codes.d = read_u16(block);
      return unpack_nibbles(block + 2, 32, codes.codes);
    case ElementType::kMXFP4:
      codes.d = block[0];
      return unpack_nibbles(block + 1, 32, codes.codes);
    case ElementType::kIQ4_XS: {
      codes.d = read_u16(block);
      const unsigned high = read_u16(block + 2);
      for (int j = 0; j < 8; ++j) {
        const int low = (block[4 + j / 2] >> (4 * (j % 2))) & 0x0f;
        const int scale = low | static_cast<int>(((high >> (2 * j)) & 3) << 4);
        codes.scales[j] = static_cast<std::int8_t>(scale - 32);
        unpack_nibbles(block + 8 + 16 * j, 32, codes.codes + 32 * j);
      }
      return;
    }
    default:
      check_failed(__FILE__, __LINE__, "a type of this family", traits_of(type).name);
  }
}

void pack_table(ElementType type, const BlockCodes& codes, std::uint8_t* block) {
  switch (type) {
    case ElementType::kIQ4_NL:
      write_u16(codes.d, block);
      return pack_nibbles(codes.codes, 32, block + 2);
    case ElementType::kMXFP4:
      block[0] = static_cast<std::uint8_t>(codes.d);
      return pack_nibbles(codes.codes, 32, block + 1);
    case ElementType::kIQ4_XS: {
      write_u16(codes.d, block);
      unsigned high = 0;
      for (int j = 0; j < 4; ++j) block[4 + j] = 0;
      for (int j = 0; j < 8; ++j) {
        const auto scale = static_cast<unsigned>(codes.scales[j] + 32);
        block[4 + j / 2] |= static_cast<std::uint8_t>((scale & 0x0f) << (4 * (j % 2)));
        high |= ((scale >> 4) & 3) << (2 * j);
        pack_nibbles(codes.codes + 32 * j, 32, block + 8 + 16 * j);
      }
      return write_u16(static_cast<std::uint16_t>(high), block + 2);
    }
    default:
      check_failed(__FILE__, __LINE__, "a type of this family", traits_of(type).name);
  }
}

}  // namespace tandem::block_codes
