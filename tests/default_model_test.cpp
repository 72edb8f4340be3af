// The default model: its logits against those of an independent float32 forward pass, its
// perplexity on held-out text as a regression figure that no split may change, and what the KV
// cache's types cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <numeric>

#include "runtime/evaluate.h"
#include "support/devices_here.h"
#include "text/tokenizer.h"

namespace tandem::test {
namespace {

const std::filesystem::path kModels = std::filesystem::path(TANDEM_SOURCE_DIR) / "models";
const std::filesystem::path kReferences =
    std::filesystem::path(TANDEM_SOURCE_DIR) / "tests" / "reference";

// John 3:1-2, held out (models/PROVENANCE.md, "Reference logits").
const std::vector<std::int32_t> kReferenceTokens = {
    0,   1768, 369, 261, 402,  270, 260, 986, 1868, 283, 46, 1578, 284,  642, 690, 330,
    480, 398,  46,  261, 1599, 268, 270, 260, 1265, 60,  12, 452,  1079, 471, 290, 666};

const ReferenceModel& model() {
  static const ReferenceModel loaded = [] {
    ReferenceModel made;
    made.name = "kjv-tiny-q8_0";
    made.file = GgufFile::open(kModels / "kjv-tiny-q8_0.gguf").value();
    made.spec = model_spec_from_gguf(*made.file).value();
    return made;
  }();
  return loaded;
}

std::vector<float> reference_logits(const RunChoice& run, const SplitChoice& split = {}) {
  const auto runtime = start_here(model(), split, run).value();
  std::vector<std::int32_t> tokens = kReferenceTokens;
  if (is_slow_here()) tokens.resize(3);
  std::vector<std::int32_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  return logits_of(*runtime, tokens, positions).value();
}

// The perplexity of so many held-out tokens in such windows, on cores, with each arithmetic.
struct Figure {
  std::size_t num_tokens = 0;
  std::int32_t window = 0;
  double with_floats = 0;
  double with_int8 = 0;
};
constexpr Figure kFigure = {2000, 256, 13.32392, 13.32495};
constexpr Figure kSmallFigure = {4, 4, 136.81806, 136.30233};

std::vector<Figure> figures_here() {
  if (is_slow_here()) return {kSmallFigure};
  return {kSmallFigure, kFigure};
}

double perplexity(const Figure& figure, const SplitChoice& split, Arithmetic arithmetic) {
  std::ifstream stream(kModels / "heldout.txt", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const auto tokenizer = Tokenizer::create(*model().file).value();
  auto tokens = tokenizer->encode(text, {.add_special = false});
  EXPECT_EQ(tokens.size(), 24094u);  // PROVENANCE.md: 24095 with bos
  tokens.resize(figure.num_tokens);
  RunChoice run;
  run.arithmetic = arithmetic;
  const auto runtime = start_here(model(), split, run).value();
  return measure_perplexity(*runtime, tokens, 0, figure.window, {}).value().perplexity;
}

class DefaultModel : public testing::Test {
 protected:
  void SetUp() override { TANDEM_SKIP_WHERE_NOTHING_RUNS(); }
};
class KvCacheTypes : public DefaultModel {};

TEST_F(DefaultModel, LogitsAreThoseOfAnIndependentForwardPass) {
  const auto expected = read_npy(kReferences / "kjv-tiny" / "logits_q8_0.npy");
  ASSERT_TRUE(expected.ok()) << expected.error().to_string();
  RunChoice run;
  run.arithmetic = Arithmetic::kFloat;
  run.kv_type = ElementType::kF32;
  for (const char* set : {"portable", "auto"}) {
    if (!runs_on_cores() && set != std::string_view("auto")) continue;
    run.instruction_set = set;
    const auto got = reference_logits(run);
    ASSERT_LE(got.size(), expected->values.size());
    float largest = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      largest = std::max(largest, std::abs(got[i] - expected->values[i]));
    }
    EXPECT_LT(largest, 1e-3f) << set;
  }
}

const std::vector<SplitChoice> kSplits = {{"tensor2", {{1, 1}}},
                                          {"pipeline2", {{1}, {1}}},
                                          {"uneven3", {{3, 1, 2}}},
                                          {"hybrid", {{1, 2}, {1}}}};

// On slow devices the last split, which has something of each.
std::vector<SplitChoice> splits_here() {
  return is_slow_here() ? std::vector{kSplits.back()} : kSplits;
}

std::vector<SplitChoice> one_and_splits() {
  std::vector<SplitChoice> all = splits_here();
  all.insert(all.begin(), SplitChoice{"one", {{1}}});
  return all;
}

TEST_F(DefaultModel, PerplexityIsTheSameUnderEverySplit) {
  for (const Figure& figure : figures_here()) {
    for (const SplitChoice& split : one_and_splits()) {
      EXPECT_NEAR(perplexity(figure, split, Arithmetic::kFloat), figure.with_floats,
                  1e-4 * figure.with_floats)
          << split.name << ", " << figure.num_tokens << " tokens";
    }
  }
}

// Stages change nothing. A tensor split changes the order of additions, and with it which way an
// activation near a tie is rounded to int8: noise of the size of that which rounding itself brings.
// The mean of a token's logarithm over 2000 tokens moves by about 1e-3, twice which is allowed;
// over fewer tokens it moves more, as the root of how many fewer they are. GPUs add in another
// order than cores also where nothing is split.
TEST_F(DefaultModel, PerplexityWithRoundedActivationsStaysWithinTheirNoise) {
  for (const Figure& figure : figures_here()) {
    const double fewer = std::sqrt(2000.0 / static_cast<double>(figure.num_tokens));
    for (const SplitChoice& split : one_and_splits()) {
      const bool same_sums = runs_on_cores() && split.stages.front().size() == 1;
      EXPECT_NEAR(perplexity(figure, split, Arithmetic::kInt8), figure.with_int8,
                  (same_sums ? 1e-4 : 2e-3) * fewer * figure.with_int8)
          << split.name << ", " << figure.num_tokens << " tokens";
    }
  }
}

// An F16 number is off by at most 2^-12 of itself; a Q8_0 number by half a step, 1/254 of its
// block's largest, which is about 2.5 deviations: 0.0057 of a deviation, NMSE 3.2e-5 of keys and
// values. Six layers add up what they pass on: ten times that is allowed of the logits.
TEST_F(KvCacheTypes, AreCloseToEachOther) {
  RunChoice run;
  run.arithmetic = Arithmetic::kFloat;
  run.kv_type = ElementType::kF32;
  const auto exact = reference_logits(run);
  run.kv_type = ElementType::kF16;
  const auto half = reference_logits(run);
  run.kv_type = ElementType::kQ8_0;
  const auto eight = reference_logits(run);
  EXPECT_LT(nmse(half, exact), 1e-6);
  EXPECT_NE(half, exact);
  EXPECT_LT(nmse(eight, exact), 3.2e-4);
  EXPECT_GT(nmse(eight, exact), nmse(half, exact));
}

TEST_F(KvCacheTypes, SplitAsTheModelDoes) {
  for (const ElementType type : {ElementType::kF32, ElementType::kQ8_0}) {
    if (is_slow_here() && type == ElementType::kF32) continue;
    RunChoice run;
    run.arithmetic = Arithmetic::kFloat;
    run.kv_type = type;
    const auto one = reference_logits(run);
    for (const SplitChoice& split : splits_here()) {
      // A key on the edge between two steps of Q8_0 may fall to either side of it.
      EXPECT_LT(nmse(reference_logits(run, split), one), type == ElementType::kF32 ? 1e-9 : 1e-6)
          << split.name;
    }
  }
}

}  // namespace
}  // namespace tandem::test
