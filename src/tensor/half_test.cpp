#include "tensor/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace tandem {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The value that IEEE 754 gives to binary16 bits, by its definition.
double f16_by_definition(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const int mantissa = bits & 0x3ff;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 0x1f) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * INFINITY;
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(Half, EveryF16IsItsDefinedValue) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const double expected = f16_by_definition(half);
    const float got = float_from_f16(half);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(got), expected) << bits;
      ASSERT_EQ(std::signbit(got), (bits & 0x8000) != 0) << bits;
    }
  }
}

TEST(Half, EveryF16SurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_from_f16(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float_from_f16(f16_from_float(value)))) << bits;
    } else {
      ASSERT_EQ(f16_from_float(value), half);
    }
  }
}

// Between each pair of neighbours: the middle goes to the even one, a step beside it to the nearer.
TEST(Half, F16RoundsToNearestTiesToEven) {
  for (std::uint16_t low = 0; low < 0x7bff; ++low) {
    const auto high = static_cast<std::uint16_t>(low + 1);
    const float middle = (float_from_f16(low) + float_from_f16(high)) / 2;  // exact in a float
    ASSERT_EQ(f16_from_float(middle), low % 2 == 0 ? low : high) << low;
    ASSERT_EQ(f16_from_float(std::nextafter(middle, 0.0f)), low) << low;
    ASSERT_EQ(f16_from_float(std::nextafter(middle, kInfinity)), high) << low;
    ASSERT_EQ(f16_from_float(-middle), (low % 2 == 0 ? low : high) | 0x8000) << low;
  }
}

TEST(Half, F16AtTheEdges) {
  EXPECT_EQ(f16_from_float(65504.0f), 0x7bff);
  EXPECT_EQ(f16_from_float(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(f16_from_float(65520.0f), 0x7c00);
  EXPECT_EQ(f16_from_float(1e30f), 0x7c00);
  EXPECT_EQ(f16_from_float(-kInfinity), 0xfc00);
  EXPECT_EQ(f16_from_float(-0.0f), 0x8000);
  EXPECT_EQ(f16_from_float(1e-30f), 0);
  EXPECT_EQ(f16_from_float(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(Half, Bf16RoundsToNearestTiesToEven) {
  EXPECT_EQ(bf16_from_float(1.0f), 0x3f80);
  EXPECT_EQ(float_from_bf16(0x3f80), 1.0f);
  const auto from_bits = [](std::uint32_t bits) { return std::bit_cast<float>(bits); };
  EXPECT_EQ(bf16_from_float(from_bits(0x3f808000)), 0x3f80);  // tie, even below
  EXPECT_EQ(bf16_from_float(from_bits(0x3f818000)), 0x3f82);  // tie, even above
  EXPECT_EQ(bf16_from_float(from_bits(0x3f808001)), 0x3f81);
  EXPECT_EQ(bf16_from_float(from_bits(0x3f817fff)), 0x3f81);
  EXPECT_EQ(bf16_from_float(from_bits(0xbf818000)), 0xbf82);
  EXPECT_EQ(bf16_from_float(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(bf16_from_float(-kInfinity), 0xff80);
  // A NaN whose payload lies only in the dropped bits must not become infinity.
  EXPECT_TRUE(std::isnan(float_from_bf16(bf16_from_float(from_bits(0x7f800001)))));
}

}  // namespace
}  // namespace tandem
