#pragma once

#include <bit>
#include <cstdint>

namespace tandem {

// IEEE 754 binary16 and bfloat16 as bits, converted in software: for any x86-64 and for reference
// paths. Rounding is to nearest, ties to even; NaN stays NaN.
float float_from_f16(std::uint16_t bits);
std::uint16_t f16_from_float(float value);

inline float float_from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}
std::uint16_t bf16_from_float(float value);

}  // namespace tandem
