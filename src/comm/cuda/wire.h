#pragma once

#include <type_traits>

#include "comm/cuda/cuda_group.h"
#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// kUnit numbers as they travel: float32 as they are, 16 bits two to a word.
template <WireType kWire, int kUnit>
struct Wire {
  static_assert(kUnit == 1 || kUnit == 4);
  using Word = std::conditional_t<kUnit == 1, unsigned,
                                  std::conditional_t<kWire == WireType::kF32, uint4, uint2>>;

  __device__ static unsigned half_bits(float x) {
    if constexpr (kWire == WireType::kF16) return __half_as_ushort(__float2half_rn(x));
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
  }
  __device__ static float float_of(unsigned bits) {
    const auto low = static_cast<unsigned short>(bits & 0xffff);
    if constexpr (kWire == WireType::kF16) return __half2float(__ushort_as_half(low));
    return __bfloat162float(__ushort_as_bfloat16(low));
  }

  __device__ static Word pack(const float* x) {
    if constexpr (kWire == WireType::kF32) {
      if constexpr (kUnit == 1) {
        return __float_as_uint(x[0]);
      } else {
        return uint4{__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]),
                     __float_as_uint(x[3])};
      }
    } else if constexpr (kUnit == 1) {
      return half_bits(x[0]);
    } else {
      return uint2{half_bits(x[0]) | half_bits(x[1]) << 16, half_bits(x[2]) | half_bits(x[3])
                                                                                  << 16};
    }
  }

  __device__ static void unpack(const Word& word, float* x) {
    if constexpr (kWire == WireType::kF32) {
      if constexpr (kUnit == 1) {
        x[0] = __uint_as_float(word);
      } else {
        x[0] = __uint_as_float(word.x);
        x[1] = __uint_as_float(word.y);
        x[2] = __uint_as_float(word.z);
        x[3] = __uint_as_float(word.w);
      }
    } else if constexpr (kUnit == 1) {
      x[0] = float_of(word);
    } else {
      x[0] = float_of(word.x);
      x[1] = float_of(word.x >> 16);
      x[2] = float_of(word.y);
      x[3] = float_of(word.y >> 16);
    }
  }
};

}  // namespace tandem::cuda
