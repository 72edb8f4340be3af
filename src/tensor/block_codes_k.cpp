#include <cstring>

#include "base/check.h"
#include "tensor/block_codes.h"

// Super-blocks of 256 with integer scales (ggml-common.h, block_q2_K and kin). Sizes in bytes:
//
//   Q2_K  scales:16  qs:64  d:2  dmin:2         scales[j] = scale j | min j << 4
//   Q3_K  hmask:32  qs:64  scales:12  d:2       16 scales of six bits, less 32
//   Q4_K  d:2  dmin:2  scales:12  qs:128        eight scales and eight mins of six bits
//   Q5_K  d:2  dmin:2  scales:12  qh:32  qs:128
//   Q6_K  ql:128  qh:64  scales:16  d:2         16 scales of eight bits, signed
//
// Where a code's bits lie, as (byte, shift) for column c:
//   two-bit qs (Q2_K, Q3_K)  32 * (c / 128) + c % 32,       2 * (c / 32 % 4)
//   four-bit qs (Q4_K, Q5_K) 32 * (c / 64) + c % 32,        4 * (c / 32 % 2)
//   hmask, qh (Q3_K, Q5_K)   c % 32,                        c / 32          (one bit)
//   ql (Q6_K)                64 * (c / 128) + c % 64,       4 * (c / 64 % 2)
//   qh (Q6_K)                32 * (c / 128) + c % 32,       2 * (c / 32 % 4)

namespace tandem::block_codes {
namespace {

void unpack_two_bits(const std::uint8_t* qs, int shift_left, std::uint8_t* codes) {
  for (int part = 0; part < 8; ++part) {
    const std::uint8_t* bytes = qs + 32 * (part / 4);
    const int shift = 2 * (part % 4);
    for (int j = 0; j < 32; ++j) {
      codes[32 * part + j] |= static_cast<std::uint8_t>(((bytes[j] >> shift) & 3) << shift_left);
    }
  }
}

void pack_two_bits(const std::uint8_t* codes, int shift_right, std::uint8_t* qs) {
  std::memset(qs, 0, 64);
  for (int part = 0; part < 8; ++part) {
    std::uint8_t* bytes = qs + 32 * (part / 4);
    const int shift = 2 * (part % 4);
    for (int j = 0; j < 32; ++j) {
      bytes[j] |= static_cast<std::uint8_t>(((codes[32 * part + j] >> shift_right) & 3) << shift);
    }
  }
}

void unpack_one_bit(const std::uint8_t* qh, int shift_left, std::uint8_t* codes) {
  for (int part = 0; part < 8; ++part) {
    for (int j = 0; j < 32; ++j) {
      codes[32 * part + j] |= static_cast<std::uint8_t>(((qh[j] >> part) & 1) << shift_left);
    }
  }
}

void pack_one_bit(const std::uint8_t* codes, int shift_right, std::uint8_t* qh) {
  std::memset(qh, 0, 32);
  for (int part = 0; part < 8; ++part) {
    for (int j = 0; j < 32; ++j) {
      qh[j] |= static_cast<std::uint8_t>(((codes[32 * part + j] >> shift_right) & 1) << part);
    }
  }
}

// Twelve bytes hold eight scales s and eight mins m of six bits (ggml-quants.c, get_scale_min_k4):
//   bytes 0-3   s[j]     | high two bits of s[j+4] << 6
//   bytes 4-7   m[j]     | high two bits of m[j+4] << 6
//   bytes 8-11  low four bits of s[j+4] | low four bits of m[j+4] << 4        j = 0..3
void unpack_scales_and_mins(const std::uint8_t* bytes, BlockCodes& codes) {
  for (int j = 0; j < 4; ++j) {
    codes.scales[j] = static_cast<std::int8_t>(bytes[j] & 63);
    codes.mins[j] = bytes[j + 4] & 63;
    codes.scales[j + 4] = static_cast<std::int8_t>((bytes[j + 8] & 0x0f) | (bytes[j] >> 6 << 4));
    codes.mins[j + 4] = static_cast<std::uint8_t>((bytes[j + 8] >> 4) | (bytes[j + 4] >> 6 << 4));
  }
}

void pack_scales_and_mins(const BlockCodes& codes, std::uint8_t* bytes) {
  for (int j = 0; j < 4; ++j) {
    const unsigned scale = static_cast<std::uint8_t>(codes.scales[j + 4]);
    const unsigned min = codes.mins[j + 4];
    bytes[j] = static_cast<std::uint8_t>((codes.scales[j] & 63) | (scale >> 4 << 6));
    bytes[j + 4] = static_cast<std::uint8_t>((codes.mins[j] & 63) | (min >> 4 << 6));
    bytes[j + 8] = static_cast<std::uint8_t>((scale & 0x0f) | ((min & 0x0f) << 4));
  }
}

// Twelve bytes hold 16 scales of six bits (gguf-py, quants.py, Q3_K): the low four bits of scale j
// in nibble j / 8 of byte j % 8, its high two bits at bit 2 * (j / 4) of byte 8 + j % 4.
void unpack_q3_scales(const std::uint8_t* bytes, std::int8_t* scales) {
  for (int j = 0; j < 16; ++j) {
    const int low = (bytes[j % 8] >> (4 * (j / 8))) & 0x0f;
    const int high = (bytes[8 + j % 4] >> (2 * (j / 4))) & 3;
    scales[j] = static_cast<std::int8_t>((low | (high << 4)) - 32);
  }
}

void pack_q3_scales(const std::int8_t* scales, std::uint8_t* bytes) {
  std::memset(bytes, 0, 12);
  for (int j = 0; j < 16; ++j) {
    const auto scale = static_cast<unsigned>(scales[j] + 32);
    bytes[j % 8] |= static_cast<std::uint8_t>((scale & 0x0f) << (4 * (j / 8)));
    bytes[8 + j % 4] |= static_cast<std::uint8_t>(((scale >> 4) & 3) << (2 * (j / 4)));
  }
}

}  // namespace

void unpack_k(ElementType type, const std::uint8_t* block, BlockCodes& codes) {
  switch (type) {
    case ElementType::kQ2_K:
      for (int j = 0; j < 16; ++j) {
        codes.scales[j] = static_cast<std::int8_t>(block[j] & 0x0f);
        codes.mins[j] = block[j] >> 4;
      }
      codes.d = read_u16(block + 80);
      codes.dmin = read_u16(block + 82);
      std::memset(codes.codes, 0, 256);
      return unpack_two_bits(block + 16, 0, codes.codes);
    case ElementType::kQ3_K:
      codes.d = read_u16(block + 108);
      unpack_q3_scales(block + 96, codes.scales);
      std::memset(codes.codes, 0, 256);
      unpack_two_bits(block + 32, 0, codes.codes);
      return unpack_one_bit(block, 2, codes.codes);
    case ElementType::kQ4_K:
    case ElementType::kQ5_K: {
      const bool five = type == ElementType::kQ5_K;
      codes.d = read_u16(block);
      codes.dmin = read_u16(block + 2);
      unpack_scales_and_mins(block + 4, codes);
      const std::uint8_t* qs = block + (five ? 48 : 16);
      for (int j = 0; j < 4; ++j) unpack_nibbles(qs + 32 * j, 64, codes.codes + 64 * j);
      if (five) unpack_one_bit(block + 16, 4, codes.codes);
      return;
    }
    case ElementType::kQ6_K:
      codes.d = read_u16(block + 208);
      std::memcpy(codes.scales, block + 192, 16);
      for (int j = 0; j < 2; ++j) unpack_nibbles(block + 64 * j, 128, codes.codes + 128 * j);
      return unpack_two_bits(block + 128, 4, codes.codes);
    default:
      check_failed(__FILE__, __LINE__, "a type of this family", traits_of(type).name);
  }
}

void pack_k(ElementType type, const BlockCodes& codes, std::uint8_t* block) {
  switch (type) {
    case ElementType::kQ2_K:
      for (int j = 0; j < 16; ++j) {
        block[j] = static_cast<std::uint8_t>((codes.scales[j] & 0x0f) | (codes.mins[j] << 4));
      }
      write_u16(codes.d, block + 80);
      write_u16(codes.dmin, block + 82);
      return pack_two_bits(codes.codes, 0, block + 16);
    case ElementType::kQ3_K:
      write_u16(codes.d, block + 108);
      pack_q3_scales(codes.scales, block + 96);
      pack_two_bits(codes.codes, 0, block + 32);
      return pack_one_bit(codes.codes, 2, block);
    case ElementType::kQ4_K:
    case ElementType::kQ5_K: {
      const bool five = type == ElementType::kQ5_K;
      write_u16(codes.d, block);
      write_u16(codes.dmin, block + 2);
      pack_scales_and_mins(codes, block + 4);
      std::uint8_t* qs = block + (five ? 48 : 16);
      for (int j = 0; j < 4; ++j) pack_nibbles(codes.codes + 64 * j, 64, qs + 32 * j);
      if (five) pack_one_bit(codes.codes, 4, block + 16);
      return;
    }
    case ElementType::kQ6_K:
      write_u16(codes.d, block + 208);
      std::memcpy(block + 192, codes.scales, 16);
      for (int j = 0; j < 2; ++j) pack_nibbles(codes.codes + 128 * j, 128, block + 64 * j);
      return pack_two_bits(codes.codes, 4, block + 128);
    default:
      check_failed(__FILE__, __LINE__, "a type of this family", traits_of(type).name);
  }
}

}  // namespace tandem::block_codes
