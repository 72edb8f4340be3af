#include "nn/rope_frequencies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace tandem {
namespace {

// Float rounding of a value computed in double.
void expect_close(float got, double expected) {
  EXPECT_NEAR(got, expected, std::abs(expected) * 0x1p-23);
}

RopeSpec plain(std::int32_t dims, double base) {
  RopeSpec rope;
  rope.dims = dims;
  rope.base = base;
  return rope;
}

TEST(RopeFrequencies, FallGeometrically) {
  const auto got = rope_frequencies(plain(8, 10000.0), {}, false);
  ASSERT_EQ(got.inverse.size(), 4u);
  const double expected[] = {1.0, 0.1, 0.01, 0.001};
  for (std::size_t i = 0; i < 4; ++i) expect_close(got.inverse[i], expected[i]);
  EXPECT_EQ(got.magnitude, 1.0f);
}

TEST(RopeFrequencies, LinearScalingDividesEveryPosition) {
  RopeSpec rope = plain(8, 10000.0);
  rope.scaling = RopeScaling::kLinear;
  rope.factor = 4.0;
  const auto got = rope_frequencies(rope, {}, false);
  const double expected[] = {0.25, 0.025, 0.0025, 0.00025};
  for (std::size_t i = 0; i < 4; ++i) expect_close(got.inverse[i], expected[i]);
  EXPECT_EQ(got.magnitude, 1.0f);
}

TEST(RopeFrequencies, FactorsDivideTheirPair) {
  const std::vector<float> factors = {1.0f, 2.0f, 8.0f, 32.0f};
  const auto got = rope_frequencies(plain(8, 10000.0), factors, false);
  const double expected[] = {1.0, 0.05, 0.00125, 0.001 / 32};
  for (std::size_t i = 0; i < 4; ++i) expect_close(got.inverse[i], expected[i]);
}

TEST(RopeFrequencies, AttentionFactorIsTheMagnitude) {
  RopeSpec rope = plain(8, 10000.0);
  rope.scaling = RopeScaling::kLongRope;
  rope.attention_factor = 1.19;
  EXPECT_FLOAT_EQ(rope_frequencies(rope, {}, false).magnitude, 1.19f);
}

// Peng et al. 2023, section 3.2, written out for one model: pairs that turn more than beta_fast
// times within the original context stay, those that turn less than beta_slow times are divided by
// the factor, those between are mixed by a ramp over the pair's number.
TEST(RopeFrequencies, YarnMixesByTurnsInTheOriginalContext) {
  constexpr int kDims = 64;
  constexpr double kBase = 10000.0;
  constexpr double kContext = 2048.0;
  constexpr double kFactor = 4.0;
  RopeSpec rope = plain(kDims, kBase);
  rope.scaling = RopeScaling::kYarn;
  rope.factor = kFactor;
  rope.original_context_tokens = 2048;
  rope.yarn_beta_fast = 32.0;
  rope.yarn_beta_slow = 1.0;
  // The pair whose wavelength 2 pi base^(2i/dims) fits `turns` times into the context.
  const auto pair_of = [&](double turns) {
    return kDims / 2.0 * std::log(kContext / (2.0 * M_PI * turns)) / std::log(kBase);
  };
  const double low = std::floor(pair_of(32.0));
  const double high = std::ceil(pair_of(1.0));
  ASSERT_GT(low, 0.0);
  ASSERT_LT(high, kDims / 2.0);

  const auto got = rope_frequencies(rope, {}, false);
  ASSERT_EQ(got.inverse.size(), 32u);
  int kept = 0;
  int divided = 0;
  for (int i = 0; i < kDims / 2; ++i) {
    const double frequency = std::exp(-2.0 * i / kDims * std::log(kBase));
    double ramp = (i - low) / (high - low);
    if (i <= low) ramp = 0.0, ++kept;
    if (i >= high) ramp = 1.0, ++divided;
    const double expected = frequency * ((1.0 - ramp) + ramp / kFactor);
    EXPECT_NEAR(got.inverse[static_cast<std::size_t>(i)], expected, expected * 0x1p-22) << i;
  }
  EXPECT_GT(kept, 1);
  EXPECT_GT(divided, 1);
  expect_close(got.magnitude, 1.0 + 0.1 * std::log(kFactor));
}

TEST(RopeFrequencies, LocalLayersHaveTheirOwnUnscaledBase) {
  RopeSpec rope = plain(8, 1'000'000.0);
  rope.local_base = 10000.0;
  rope.scaling = RopeScaling::kLinear;
  rope.factor = 8.0;
  rope.attention_factor = 1.5;
  const std::vector<float> factors = {2.0f, 2.0f, 2.0f, 2.0f};
  const auto local = rope_frequencies(rope, factors, true);
  const double expected[] = {1.0, 0.1, 0.01, 0.001};
  for (std::size_t i = 0; i < 4; ++i) expect_close(local.inverse[i], expected[i]);
  EXPECT_EQ(local.magnitude, 1.0f);
  const auto global = rope_frequencies(rope, factors, false);
  expect_close(global.inverse[0], 1.0 / 16.0);
  EXPECT_FLOAT_EQ(global.magnitude, 1.5f);
}

TEST(RopeFrequencies, LocalLayersFollowTheModelWithoutABaseOfTheirOwn) {
  RopeSpec rope = plain(8, 500000.0);
  rope.scaling = RopeScaling::kLinear;
  rope.factor = 2.0;
  EXPECT_EQ(rope_frequencies(rope, {}, true).inverse, rope_frequencies(rope, {}, false).inverse);
}

}  // namespace
}  // namespace tandem
