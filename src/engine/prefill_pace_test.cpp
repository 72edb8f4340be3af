#include "engine/prefill_pace.h"

#include <gtest/gtest.h>

#include <random>

namespace tandem {
namespace {

constexpr double kSlowdown = 1.8;

// A step's time on a device that reads its weights in `base_us` and computes a token in `token_us`.
struct Device {
  double base_us = 25'000;
  double token_us = 3'000;
  double noise = 0;  // relative, up to

  std::int64_t step_us(std::int32_t tokens, std::mt19937& random) const {
    const double factor = 1 + noise * std::uniform_real_distribution<>(0, 1)(random);
    return static_cast<std::int64_t>((base_us + token_us * tokens) * factor);
  }
};

TEST(PrefillPace, LearnsWhatFitsBesideDecodes) {
  std::mt19937 random(1);
  const Device device;
  PrefillPace pace(512, kSlowdown);
  for (int i = 0; i < 50; ++i) pace.observe(4, device.step_us(4, random));
  EXPECT_EQ(pace.tokens_beside(4), 32) << "a guess, as steps of one size say nothing";
  for (int i = 0; i < 50; ++i) {
    const std::int32_t tokens = 4 + pace.tokens_beside(4);
    pace.observe(tokens, device.step_us(tokens, random));
  }
  // 0.8 * (25 + 4 * 3) ms / 3 ms
  EXPECT_NEAR(pace.tokens_beside(4), 9, 1);
  for (int i = 0; i < 500; ++i) {
    const std::int32_t tokens = 4 + pace.tokens_beside(4);
    EXPECT_LT(tokens, 16) << "what was learned is not forgotten in steps that are all alike";
    pace.observe(tokens, device.step_us(tokens, random));
  }
  EXPECT_NEAR(pace.tokens_beside(30), 30, 2);
}

// Under constant load there are no steps that only decode, and a busy machine's times tell little.
// Prompts must come in all the same.
TEST(PrefillPace, NoNoiseStarvesPrompts) {
  std::mt19937 random(2);
  const Device device{.noise = 5};
  PrefillPace pace(512, kSlowdown);
  for (int i = 0; i < 2000; ++i) {
    const std::int32_t decodes = 20 + static_cast<std::int32_t>(random() % 40);
    const std::int32_t prompts = pace.tokens_beside(decodes);
    EXPECT_GE(prompts, static_cast<std::int32_t>(0.79 * decodes));
    pace.observe(decodes + prompts, device.step_us(decodes + prompts, random));
  }
}

TEST(PrefillPace, KeepsItsBounds) {
  PrefillPace pace(16, kSlowdown);
  EXPECT_EQ(pace.tokens_beside(1), 16);
  for (int i = 0; i < 10; ++i) pace.observe(1 + i % 2 * 15, 1000);  // tokens that cost nothing
  EXPECT_EQ(pace.tokens_beside(1), 16);
  for (int i = 0; i < 100; ++i) pace.observe(1 + i % 2, i % 2 ? 1'000'000 : 1);
  EXPECT_GE(pace.tokens_beside(1), 4);
}

}  // namespace
}  // namespace tandem
