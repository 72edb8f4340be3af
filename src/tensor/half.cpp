#include "tensor/half.h"

namespace tandem {
namespace {

constexpr std::uint32_t kF32Infinity = 0x7f800000;

// Drops the lowest `num_bits` (1 to 31) of `value`, rounding to nearest, ties to even.
std::uint32_t shift_right_to_even(std::uint32_t value, int num_bits) {
  const std::uint32_t half = std::uint32_t{1} << (num_bits - 1);
  const std::uint32_t odd = (value >> num_bits) & 1;
  return (value + half - 1 + odd) >> num_bits;
}

}  // namespace

float float_from_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1f;
  const std::uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24 is exact in a float
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  if (exponent == 0x1f) return std::bit_cast<float>(sign | kF32Infinity | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 127 - 15) << 23) | (mantissa << 13));
}

std::uint16_t f16_from_float(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  const auto with_sign = [sign](std::uint32_t rest) {
    return static_cast<std::uint16_t>(sign | rest);
  };

  if (magnitude > kF32Infinity) {  // quiet NaN, keeping the payload's upper bits
    return with_sign(0x7e00 | ((magnitude >> 13) & 0x1ff));
  }
  const std::uint32_t exponent = magnitude >> 23;
  if (exponent >= 127 + 16) return with_sign(0x7c00);  // 2^16 and above
  if (exponent >= 127 - 14) {
    // A carry out of the mantissa raises the exponent, up to infinity: just as it should.
    return with_sign(shift_right_to_even(magnitude - ((127 - 15) << 23), 13));
  }
  if (exponent < 127 - 25) return with_sign(0);  // under half of the least subnormal
  const std::uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
  return with_sign(shift_right_to_even(significand, 126 - static_cast<int>(exponent)));
}

std::uint16_t bf16_from_float(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > kF32Infinity) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>(shift_right_to_even(bits & 0x7fffffff, 16) |
                                    ((bits >> 16) & 0x8000));
}

}  // namespace tandem
