#include "tensor/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tensor/block_codes.h"
#include "tensor/half.h"

namespace tandem {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<float> dequantised(ElementType type, const Bytes& bytes) {
  const ElementTypeTraits& traits = traits_of(type);
  std::vector<float> values(bytes.size() / static_cast<std::size_t>(traits.block_bytes) *
                            static_cast<std::size_t>(traits.block_elements));
  dequantise(type, std::as_bytes(std::span(bytes)), values);
  return values;
}

Bytes quantised(ElementType type, const std::vector<float>& values) {
  Bytes bytes(static_cast<std::size_t>(*bytes_of(type, static_cast<std::int64_t>(values.size()))));
  quantise(type, values, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

int bits_at(const std::uint8_t* bytes, int byte, int shift, int count) {
  return (bytes[byte] >> shift) & ((1 << count) - 1);
}

double half_at(const std::uint8_t* bytes) {
  return float_from_f16(static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8));
}

// Scale and min j of the twelve bytes of Q4_K and Q5_K, as get_scale_min_k4 of ggml-quants.c.
std::pair<int, int> scale_and_min(const std::uint8_t* q, int j) {
  if (j < 4) return {q[j] & 63, q[j + 4] & 63};
  return {(q[j + 4] & 15) | (q[j - 4] >> 6 << 4), (q[j + 4] >> 4) | (q[j] >> 6 << 4)};
}

constexpr int kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr double kE2m1[16] = {0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6};

// Column c of a block by the definition of its type, written from ggml's description one number at
// a time, and apart from the code under test.
double value_by_definition(ElementType type, const std::uint8_t* b, int c) {
  const int nibble = c % 16;
  const int upper = 4 * (c / 16 % 2);
  switch (type) {
    case ElementType::kQ8_0:
      return half_at(b) * static_cast<std::int8_t>(b[2 + c]);
    case ElementType::kQ4_0:
      return half_at(b) * (bits_at(b, 2 + nibble, upper, 4) - 8);
    case ElementType::kQ4_1:
      return half_at(b) * bits_at(b, 4 + nibble, upper, 4) + half_at(b + 2);
    case ElementType::kQ5_0:
      return half_at(b) *
             (bits_at(b, 6 + nibble, upper, 4) + 16 * bits_at(b, 2 + c / 8, c % 8, 1) - 16);
    case ElementType::kQ5_1:
      return half_at(b) *
                 (bits_at(b, 8 + nibble, upper, 4) + 16 * bits_at(b, 4 + c / 8, c % 8, 1)) +
             half_at(b + 2);
    case ElementType::kQ2_K: {
      const int code = bits_at(b, 16 + 32 * (c / 128) + c % 32, 2 * (c / 32 % 4), 2);
      return half_at(b + 80) * (b[c / 16] & 15) * code - half_at(b + 82) * (b[c / 16] >> 4);
    }
    case ElementType::kQ3_K: {
      const int j = c / 16;
      const int scale =
          bits_at(b, 96 + j % 8, 4 * (j / 8), 4) + 16 * bits_at(b, 104 + j % 4, 2 * (j / 4), 2);
      const int low = bits_at(b, 32 + 32 * (c / 128) + c % 32, 2 * (c / 32 % 4), 2);
      const bool high = bits_at(b, c % 32, c / 32, 1) == 1;
      return half_at(b + 108) * (scale - 32) * (low - (high ? 0 : 4));
    }
    case ElementType::kQ4_K: {
      const auto [scale, min] = scale_and_min(b + 4, c / 32);
      const int code = bits_at(b, 16 + 32 * (c / 64) + c % 32, 4 * (c / 32 % 2), 4);
      return half_at(b) * scale * code - half_at(b + 2) * min;
    }
    case ElementType::kQ5_K: {
      const auto [scale, min] = scale_and_min(b + 4, c / 32);
      const int code = bits_at(b, 48 + 32 * (c / 64) + c % 32, 4 * (c / 32 % 2), 4) +
                       16 * bits_at(b, 16 + c % 32, c / 32, 1);
      return half_at(b) * scale * code - half_at(b + 2) * min;
    }
    case ElementType::kQ6_K: {
      const int code = bits_at(b, 64 * (c / 128) + c % 64, 4 * (c / 64 % 2), 4) +
                       16 * bits_at(b, 128 + 32 * (c / 128) + c % 32, 2 * (c / 32 % 4), 2);
      return half_at(b + 208) * static_cast<std::int8_t>(b[192 + c / 16]) * (code - 32);
    }
    case ElementType::kIQ4_NL:
      return half_at(b) * kIq4[bits_at(b, 2 + nibble, upper, 4)];
    case ElementType::kIQ4_XS: {
      const int j = c / 32;
      const int high = b[2] | b[3] << 8;
      const int scale = bits_at(b, 4 + j / 2, 4 * (j % 2), 4) + 16 * (high >> (2 * j) & 3) - 32;
      return half_at(b) * scale * kIq4[bits_at(b, 8 + 16 * j + nibble, upper, 4)];
    }
    case ElementType::kMXFP4:
      return std::ldexp(1.0, b[0] - 127) * kE2m1[bits_at(b, 1 + nibble, upper, 4)];
    default:
      ADD_FAILURE();
      return 0;
  }
}

// Where the float16 scales of a block lie: random bytes there must not be infinite or NaN.
std::vector<int> half_positions(ElementType type) {
  switch (type) {
    case ElementType::kQ4_1:
    case ElementType::kQ5_1:
    case ElementType::kQ4_K:
    case ElementType::kQ5_K:
      return {0, 2};
    case ElementType::kQ2_K:
      return {80, 82};
    case ElementType::kQ3_K:
      return {108};
    case ElementType::kQ6_K:
      return {208};
    case ElementType::kMXFP4:
      return {};
    default:
      return {0};
  }
}

Bytes random_block(ElementType type, std::mt19937& random) {
  Bytes block(static_cast<std::size_t>(traits_of(type).block_bytes));
  for (std::uint8_t& byte : block) byte = static_cast<std::uint8_t>(random());
  for (const int position : half_positions(type)) {
    std::uint8_t& high = block[static_cast<std::size_t>(position) + 1];
    if ((high & 0x7c) == 0x7c) high ^= 0x40;
  }
  if (type == ElementType::kMXFP4) block[0] %= 250;
  return block;
}

std::vector<ElementType> quantised_types() {
  std::vector<ElementType> types;
  for (const ElementTypeTraits& traits : all_element_types()) {
    if (traits.is_quantised) types.push_back(traits.type);
  }
  return types;
}

class Quantised : public testing::TestWithParam<ElementType> {};
INSTANTIATE_TEST_SUITE_P(Types, Quantised, testing::ValuesIn(quantised_types()),
                         [](const auto& test) { return std::string(traits_of(test.param).name); });

TEST_P(Quantised, DequantisesAsDefined) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const Bytes block = random_block(GetParam(), random);
    const std::vector<float> values = dequantised(GetParam(), block);
    // Scale times code is rounded once, and a shift is added with one rounding more. What is added
    // may cancel, so the error is bounded by the larger of the terms, of which the block's extreme
    // value is at least a 16th.
    double extreme = 0;
    for (std::size_t c = 0; c < values.size(); ++c) {
      extreme = std::max(
          extreme, std::fabs(value_by_definition(GetParam(), block.data(), static_cast<int>(c))));
    }
    for (std::size_t c = 0; c < values.size(); ++c) {
      const double expected = value_by_definition(GetParam(), block.data(), static_cast<int>(c));
      ASSERT_NEAR(values[c], expected, 16 * extreme * 0x1p-23) << "round " << round << " c " << c;
    }
  }
}

TEST_P(Quantised, PackingIsTheInverseOfUnpacking) {
  std::mt19937 random(11);
  for (int round = 0; round < 100; ++round) {
    const Bytes block = random_block(GetParam(), random);
    BlockCodes codes = {};
    unpack_block(GetParam(), reinterpret_cast<const std::byte*>(block.data()), codes);
    Bytes packed(block.size(), 0xa5);
    pack_block(GetParam(), codes, reinterpret_cast<std::byte*>(packed.data()));
    ASSERT_EQ(packed, block);
  }
}

std::vector<float> gaussian(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.01f, 0.2f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// The largest error, as a fraction of the extreme value of the block: half a step of the codes,
// plus what rounding the scale itself to float16 or to few bits shifts the largest code.
double permitted_error(ElementType type) {
  const double half = 0x1p-11;  // of a float16
  switch (type) {
    case ElementType::kQ8_0:
      return 0.5 / 127 + half;
    case ElementType::kQ4_0:
      return 1.0 / 8 + half;  // the positive end stops at 7 of 8
    case ElementType::kQ5_0:
      return 1.0 / 16 + half;
    case ElementType::kQ4_1:
      return 1.0 / 15 + 3 * half;  // the range is at most twice the extreme
    case ElementType::kQ5_1:
      return 1.0 / 31 + 3 * half;
    case ElementType::kQ2_K:
      return 1.0 / 3 + 2 * (0.5 / 15) * 2;  // scale and min are off by half a 15th of the largest
    case ElementType::kQ3_K:
      return 1.0 / 4 + 0.5 / 31;
    case ElementType::kQ4_K:
      return 1.0 / 15 + 2 * (0.5 / 63) * 2;
    case ElementType::kQ5_K:
      return 1.0 / 31 + 2 * (0.5 / 63) * 2;
    case ElementType::kQ6_K:
      return 1.0 / 32 + 0.5 / 127 + half;
    case ElementType::kIQ4_NL:
    case ElementType::kIQ4_XS:
      return 14.0 / 127 + 0.5 / 31 + half;  // 113 is the positive end of 127; gaps of up to 24
    case ElementType::kMXFP4:
      return 2.0 / 6;  // 6 is the end of a range that reaches up to 8
    default:
      return 0;
  }
}

TEST_P(Quantised, RoundTripErrorIsBounded) {
  const std::vector<float> values = gaussian(256 * 64, 3);
  const std::vector<float> back = dequantised(GetParam(), quantised(GetParam(), values));
  const auto block = static_cast<std::size_t>(traits_of(GetParam()).block_elements);
  double error = 0;
  double power = 0;
  for (std::size_t begin = 0; begin < values.size(); begin += block) {
    double extreme = 0;
    for (std::size_t i = begin; i < begin + block; ++i) {
      extreme = std::max(extreme, std::fabs(static_cast<double>(values[i])));
    }
    for (std::size_t i = begin; i < begin + block; ++i) {
      ASSERT_NEAR(back[i], values[i], permitted_error(GetParam()) * extreme) << i;
      error += std::pow(static_cast<double>(back[i]) - values[i], 2);
      power += std::pow(values[i], 2);
    }
  }
  // On average each code of b bits leaves at least 5 dB a bit: 6.02 dB, less the headroom.
  const int bits = block_scheme_of(GetParam())->code_bits;
  EXPECT_LT(10 * std::log10(error / power), -5.0 * bits + 4.0);
}

TEST_P(Quantised, RequantisingIsStable) {
  const std::vector<float> once =
      dequantised(GetParam(), quantised(GetParam(), gaussian(256 * 16, 5)));
  const std::vector<float> twice = dequantised(GetParam(), quantised(GetParam(), once));
  const BlockScheme& scheme = *block_scheme_of(GetParam());
  const bool exact =
      scheme.scale_form == ScaleForm::kHalf || scheme.scale_form == ScaleForm::kExponent;
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < once.size(); ++i) {
    if (exact) {
      ASSERT_EQ(twice[i], once[i]) << i;
    }
    error += std::pow(static_cast<double>(twice[i]) - once[i], 2);
    power += std::pow(once[i], 2);
  }
  // Elsewhere the scales may shift by a step, but most codes must not.
  const double first_error = std::pow(10, -0.5 * scheme.code_bits);
  EXPECT_LT(error / power, first_error);
}

TEST_P(Quantised, ZeroesStayZeroes) {
  const auto size = static_cast<std::size_t>(traits_of(GetParam()).block_elements);
  const std::vector<float> zeroes(size, 0.0f);
  EXPECT_EQ(dequantised(GetParam(), quantised(GetParam(), zeroes)), zeroes);
}

TEST_P(Quantised, AnyFloatsAreAccepted) {
  const auto size = static_cast<std::size_t>(traits_of(GetParam()).block_elements);
  std::vector<float> values(size, 1.0f);
  values[0] = INFINITY;
  values[1] = NAN;
  values[2] = -3e38f;
  values[3] = 1e-45f;
  quantised(GetParam(), values);  // no undefined behaviour: the sanitizers judge
}

TEST(Quantise, HandComputedBlocks) {
  // d = 0.5 (0x3800); the first byte's nibbles are columns 0 and 16.
  Bytes q4_0(18, 0x88);
  q4_0[0] = 0x00;
  q4_0[1] = 0x38;
  q4_0[2] = 0x1f;
  const std::vector<float> values = dequantised(ElementType::kQ4_0, q4_0);
  EXPECT_EQ(values[0], 3.5f);    // (15 - 8) / 2
  EXPECT_EQ(values[16], -3.5f);  // (1 - 8) / 2
  EXPECT_EQ(values[1], 0.0f);

  Bytes mxfp4(17, 0);
  mxfp4[0] = 128;   // 2^1
  mxfp4[1] = 0xf7;  // 6 and -6
  EXPECT_EQ(dequantised(ElementType::kMXFP4, mxfp4)[0], 12.0f);
  EXPECT_EQ(dequantised(ElementType::kMXFP4, mxfp4)[16], -12.0f);

  Bytes q6_k(210, 0);  // d = 2 (0x4000), scale 15 = -3, column 255: low nibble 5, high bits 2
  q6_k[209] = 0x40;
  q6_k[192 + 15] = static_cast<std::uint8_t>(-3);
  q6_k[127] = 0x50;
  q6_k[191] = 0x80;
  EXPECT_EQ(dequantised(ElementType::kQ6_K, q6_k)[255], 2.0f * -3 * (5 + 32 - 32));
}

TEST(Quantise, HalvesAndFloats) {
  const std::vector<float> values = {1.0f, -2.5f, 65504.0f, 0.0f};
  for (const ElementType type : {ElementType::kF32, ElementType::kF16}) {
    EXPECT_EQ(dequantised(type, quantised(type, values)), values);
  }
  const std::vector<float> small = {1.0f, -2.5f, 384.0f, 0.0f};
  EXPECT_EQ(dequantised(ElementType::kBF16, quantised(ElementType::kBF16, small)), small);
  EXPECT_TRUE(dequantised(ElementType::kQ4_K, {}).empty());
}

TEST(QuantiseDeathTest, SizesThatDisagreeAreABug) {
  std::vector<float> values(32);
  Bytes bytes(17);
  EXPECT_DEATH(dequantise(ElementType::kQ4_0, std::as_bytes(std::span(bytes)), values),
               "do not agree");
}

}  // namespace
}  // namespace tandem
