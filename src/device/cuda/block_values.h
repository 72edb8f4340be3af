#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "tensor/element_type.h"

namespace tandem::cuda {

// Single numbers out of the blocks of the file, the slow and plain way: any type, any column. The
// layouts are drawn in tensor/block_codes_*.cpp; the values are those of dequantise().
//
// BlockValues<type>::at(row, column): row: the row's first byte.

// ggml-common.h, kvalues_iq4nl and kvalues_mxfp4 (doubled), as in tensor/block_codes.cpp: sixteen
// signed bytes in two words each, because a table in memory would be one more load a number.
__device__ inline int level_of(std::uint64_t low, std::uint64_t high, int code) {
  const std::uint64_t half = code < 8 ? low : high;
  return static_cast<std::int8_t>(half >> (8 * (code % 8)));
}
__device__ inline int iq4_level(int code) {
  return level_of(0xf6eaddcfbfad9881ull, 0x7159453526190d01ull, code);
}
__device__ inline int e2m1_level(int code) {
  return level_of(0x0c08060403020100ull, 0xf4f8fafcfdfeff00ull, code);
}

__device__ inline std::uint16_t read_u16(const std::uint8_t* bytes) {
  return static_cast<std::uint16_t>(bytes[0] | (bytes[1] << 8));
}
__device__ inline float read_half(const std::uint8_t* bytes) {
  return __half2float(__ushort_as_half(read_u16(bytes)));
}
// Code j of `count` as nibbles: j below, j + count / 2 above.
__device__ inline int nibble(const std::uint8_t* bytes, int count, int j) {
  return bytes[j % (count / 2)] >> (j < count / 2 ? 0 : 4) & 0x0f;
}
// 2^(exponent - 128); see half_of_e8m0().
__device__ inline float half_of_exponent(int exponent) {
  return __uint_as_float(exponent < 2 ? 0x00200000u << exponent
                                      : static_cast<unsigned>(exponent - 1) << 23);
}

template <ElementType kType>
struct BlockValues;

template <>
struct BlockValues<ElementType::kF32> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    return reinterpret_cast<const float*>(row)[column];
  }
};

template <>
struct BlockValues<ElementType::kF16> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    return read_half(row + 2 * column);
  }
};

template <>
struct BlockValues<ElementType::kBF16> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    return __uint_as_float(static_cast<unsigned>(read_u16(row + 2 * column)) << 16);
  }
};

template <>
struct BlockValues<ElementType::kQ8_0> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 32 * 34;
    return read_half(block) * static_cast<float>(static_cast<std::int8_t>(block[2 + column % 32]));
  }
};

template <>
struct BlockValues<ElementType::kQ4_0> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 32 * 18;
    const int code = nibble(block + 2, 32, static_cast<int>(column % 32));
    return read_half(block) * static_cast<float>(code - 8);
  }
};

template <>
struct BlockValues<ElementType::kQ4_1> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 32 * 20;
    const int code = nibble(block + 4, 32, static_cast<int>(column % 32));
    return read_half(block) * static_cast<float>(code) + read_half(block + 2);
  }
};

template <>
struct BlockValues<ElementType::kQ5_0> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 32 * 22;
    const int j = static_cast<int>(column % 32);
    const int fifth = block[2 + j / 8] >> (j % 8) & 1;
    const int code = nibble(block + 6, 32, j) | fifth << 4;
    return read_half(block) * static_cast<float>(code - 16);
  }
};

template <>
struct BlockValues<ElementType::kQ5_1> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 32 * 24;
    const int j = static_cast<int>(column % 32);
    const int fifth = block[4 + j / 8] >> (j % 8) & 1;
    const int code = nibble(block + 8, 32, j) | fifth << 4;
    return read_half(block) * static_cast<float>(code) + read_half(block + 2);
  }
};

template <>
struct BlockValues<ElementType::kQ2_K> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 256 * 84;
    const int c = static_cast<int>(column % 256);
    const int code = block[16 + 32 * (c / 128) + c % 32] >> (2 * (c / 32 % 4)) & 3;
    const int scales = block[c / 16];
    const float scale = read_half(block + 80) * static_cast<float>(scales & 0x0f);
    return scale * static_cast<float>(code) -
           read_half(block + 82) * static_cast<float>(scales >> 4);
  }
};

template <>
struct BlockValues<ElementType::kQ3_K> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 256 * 110;
    const int c = static_cast<int>(column % 256);
    const int j = c / 16;
    const int low = block[96 + j % 8] >> (4 * (j / 8)) & 0x0f;
    const int high = block[104 + j % 4] >> (2 * (j / 4)) & 3;
    const int scale = (low | high << 4) - 32;
    const int two = block[32 + 32 * (c / 128) + c % 32] >> (2 * (c / 32 % 4)) & 3;
    const int third = block[c % 32] >> (c / 32) & 1;
    return read_half(block + 108) * static_cast<float>(scale) *
           static_cast<float>((two | third << 2) - 4);
  }
};

// The six-bit scale and min j of Q4_K and Q5_K.
__device__ inline int scale_of(const std::uint8_t* bytes, int j) {
  return j < 4 ? bytes[j] & 63 : (bytes[j + 4] & 0x0f) | bytes[j - 4] >> 6 << 4;
}
__device__ inline int min_of(const std::uint8_t* bytes, int j) {
  return j < 4 ? bytes[j + 4] & 63 : bytes[j + 4] >> 4 | bytes[j] >> 6 << 4;
}

template <>
struct BlockValues<ElementType::kQ4_K> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 256 * 144;
    const int c = static_cast<int>(column % 256);
    const int code = block[16 + 32 * (c / 64) + c % 32] >> (4 * (c / 32 % 2)) & 0x0f;
    const float scale = read_half(block) * static_cast<float>(scale_of(block + 4, c / 32));
    return scale * static_cast<float>(code) -
           read_half(block + 2) * static_cast<float>(min_of(block + 4, c / 32));
  }
};

template <>
struct BlockValues<ElementType::kQ5_K> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 256 * 176;
    const int c = static_cast<int>(column % 256);
    const int four = block[48 + 32 * (c / 64) + c % 32] >> (4 * (c / 32 % 2)) & 0x0f;
    const int fifth = block[16 + c % 32] >> (c / 32) & 1;
    const float scale = read_half(block) * static_cast<float>(scale_of(block + 4, c / 32));
    return scale * static_cast<float>(four | fifth << 4) -
           read_half(block + 2) * static_cast<float>(min_of(block + 4, c / 32));
  }
};

template <>
struct BlockValues<ElementType::kQ6_K> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 256 * 210;
    const int c = static_cast<int>(column % 256);
    const int low = block[64 * (c / 128) + c % 64] >> (4 * (c / 64 % 2)) & 0x0f;
    const int high = block[128 + 32 * (c / 128) + c % 32] >> (2 * (c / 32 % 4)) & 3;
    const auto scale = static_cast<std::int8_t>(block[192 + c / 16]);
    return read_half(block + 208) * static_cast<float>(scale) *
           static_cast<float>((low | high << 4) - 32);
  }
};

template <>
struct BlockValues<ElementType::kIQ4_NL> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 32 * 18;
    const int code = nibble(block + 2, 32, static_cast<int>(column % 32));
    return read_half(block) * static_cast<float>(iq4_level(code));
  }
};

template <>
struct BlockValues<ElementType::kIQ4_XS> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 256 * 136;
    const int c = static_cast<int>(column % 256);
    const int j = c / 32;
    const int low = block[4 + j / 2] >> (4 * (j % 2)) & 0x0f;
    const int high = read_u16(block + 2) >> (2 * j) & 3;
    const int scale = (low | high << 4) - 32;
    const int code = nibble(block + 8 + 16 * j, 32, c % 32);
    return read_half(block) * static_cast<float>(scale) * static_cast<float>(iq4_level(code));
  }
};

template <>
struct BlockValues<ElementType::kMXFP4> {
  __device__ static float at(const std::uint8_t* row, std::int64_t column) {
    const std::uint8_t* block = row + column / 32 * 17;
    const int code = nibble(block + 1, 32, static_cast<int>(column % 32));
    return half_of_exponent(block[0]) * static_cast<float>(e2m1_level(code));
  }
};

// Calls f.template operator()<type>() for the type of a weight; false for what is none.
template <typename F>
bool with_weight_type(ElementType type, F&& f) {
  switch (type) {
#define TANDEM_WEIGHT_TYPE(name)                \
  case ElementType::name:                       \
    f.template operator()<ElementType::name>(); \
    return true;
    TANDEM_WEIGHT_TYPE(kF32)
    TANDEM_WEIGHT_TYPE(kF16)
    TANDEM_WEIGHT_TYPE(kBF16)
    TANDEM_WEIGHT_TYPE(kQ8_0)
    TANDEM_WEIGHT_TYPE(kQ4_0)
    TANDEM_WEIGHT_TYPE(kQ4_1)
    TANDEM_WEIGHT_TYPE(kQ5_0)
    TANDEM_WEIGHT_TYPE(kQ5_1)
    TANDEM_WEIGHT_TYPE(kQ2_K)
    TANDEM_WEIGHT_TYPE(kQ3_K)
    TANDEM_WEIGHT_TYPE(kQ4_K)
    TANDEM_WEIGHT_TYPE(kQ5_K)
    TANDEM_WEIGHT_TYPE(kQ6_K)
    TANDEM_WEIGHT_TYPE(kIQ4_NL)
    TANDEM_WEIGHT_TYPE(kIQ4_XS)
    TANDEM_WEIGHT_TYPE(kMXFP4)
#undef TANDEM_WEIGHT_TYPE
    case ElementType::kI32:
      return false;
  }
  return false;
}

}  // namespace tandem::cuda
