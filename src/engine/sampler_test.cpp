#include "engine/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/vocabularies_for_test.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::string no_text(std::int32_t) {
  return {};
}

// Everything off but the temperature.
SamplingParams neutral() {
  SamplingParams params;
  params.temperature = 1;
  params.top_k = 0;
  params.top_p = 1;
  params.min_p = 0;
  return params;
}

std::int32_t sample(Sampler& sampler, std::vector<float> logits) {
  return sampler.sample(logits).token;
}

std::vector<std::int32_t> answer(const SamplingParams& params, int length) {
  Sampler sampler(params, no_text);
  Random random(99);
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < length; ++i) {
    std::vector<float> logits;
    for (int j = 0; j < 100; ++j) logits.push_back(static_cast<float>(random.uniform() * 6));
    tokens.push_back(sample(sampler, logits));
    sampler.accept(tokens.back());
  }
  return tokens;
}

TEST(Sampler, TheSameSeedGivesTheSameTokens) {
  SamplingParams params;
  params.seed = 12;
  const auto first = answer(params, 50);
  EXPECT_EQ(answer(params, 50), first);
  params.seed = 13;
  EXPECT_NE(answer(params, 50), first);
}

// What a GPU hands over: the k best, best first.
std::vector<TokenLogit> best_of(std::span<const float> logits, std::int32_t k) {
  std::vector<TokenLogit> best;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    best.push_back({static_cast<std::int32_t>(i), logits[i]});
  }
  std::ranges::sort(best, [](const TokenLogit& a, const TokenLogit& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  });
  best.resize(static_cast<std::size_t>(k));
  return best;
}

// What a GPU does to a logit; sampler: whose next token is meant, behind `ahead`.
void obey_changes(Sampler& sampler, std::span<const std::int32_t> ahead,
                  std::vector<float>& logits) {
  std::vector<LogitChange> changes;
  sampler.add_changes(ahead, 3, changes);
  for (const LogitChange& change : changes) {
    EXPECT_EQ(change.row, 3);
    float& logit = logits.at(static_cast<std::size_t>(change.column));
    logit += change.add;
    logit = logit <= 0 ? logit * change.repeat : logit / change.repeat;
    logit -= change.lower;
  }
}

TEST(Sampler, ChoosesAmongTheBestAsAmongAll) {
  SamplingParams usual, wild, greedy, biased, tired;
  wild.top_k = 7;
  wild.typical_p = 0.9f;
  wild.xtc = {0.5f, 0.05f};
  wild.dynatemp_range = 0.3f;
  greedy.temperature = 0;
  biased.logit_bias = {{3, 2.0f}, {9, -kInfinity}, {3, 0.5f}, {17, -1.0f}};
  tired = biased;
  tired.penalties = {.last_n = 20, .repeat = 1.3f, .frequency = 0.2f, .presence = 0.4f};
  for (const SamplingParams& params : {usual, wild, greedy, biased, tired}) {
    Sampler among_all(params, no_text), among_best(params, no_text);
    const std::int32_t k = among_best.num_candidates();
    EXPECT_EQ(k, params.temperature <= 0 ? 1 : params.top_k);
    Random random(7);
    for (int i = 0; i < 60; ++i) {
      std::vector<float> logits;
      // Few different values: equals must be decided alike.
      for (int j = 0; j < 200; ++j) {
        logits.push_back(std::floor(static_cast<float>(random.uniform() * 12)) / 2);
      }
      std::vector<float> changed = logits;
      obey_changes(among_best, {}, changed);
      const auto best = best_of(changed, k);
      const std::int32_t token = among_best.sample_best(best, 0).token;
      ASSERT_EQ(token, sample(among_all, logits));
      among_all.accept(token);
      among_best.accept(token);
    }
  }
}

// Behind guesses of what comes, as behind what came.
TEST(Sampler, KnowsWhatChangesBehindGuesses) {
  SamplingParams params;
  params.penalties = {.last_n = 5, .repeat = 1.5f, .frequency = 0.25f, .presence = 0.5f};
  params.logit_bias = {{4, 1.0f}};
  Sampler sampler(params, no_text), later(params, no_text);
  const std::vector<std::int32_t> history = {1, 2, 2, 3, 9, 7}, guesses = {2, 5, 9};
  for (const std::int32_t token : history) sampler.accept(token);
  for (const std::int32_t token : history) later.accept(token);
  for (std::size_t count = 0; count <= guesses.size(); ++count) {
    std::vector<float> expected(12, 2.0f), got(12, 2.0f);
    obey_changes(later, {}, expected);
    obey_changes(sampler, std::span(guesses).first(count), got);
    EXPECT_EQ(got, expected) << count;
    if (count < guesses.size()) later.accept(guesses[count]);
  }
}

// Log-probabilities from the best and the sum of all, as from all.
TEST(Sampler, TellsLogProbabilitiesFromTheBest) {
  for (const float temperature : {0.0f, 0.8f}) {
    SamplingParams params;
    params.temperature = temperature;
    params.num_logprobs = 3;
    Sampler among_all(params, no_text), among_best(params, no_text);
    EXPECT_TRUE(among_best.wants_log_sum());
    const std::int32_t k = among_best.num_candidates();
    EXPECT_EQ(k, temperature > 0 ? 40 : 3);
    Random random(3);
    for (int i = 0; i < 20; ++i) {
      std::vector<float> logits;
      for (int j = 0; j < 200; ++j) logits.push_back(static_cast<float>(random.uniform() * 9));
      double sum = 0;
      for (const float logit : logits) sum += std::exp(double(logit));
      const SampledToken got = among_best.sample_best(best_of(logits, k), std::log(sum));
      const SampledToken expected = among_all.sample(logits);
      ASSERT_EQ(got.token, expected.token);
      EXPECT_FLOAT_EQ(got.logprob, expected.logprob);
      ASSERT_EQ(got.likeliest.size(), expected.likeliest.size());
      for (std::size_t j = 0; j < got.likeliest.size(); ++j) {
        EXPECT_EQ(got.likeliest[j].token, expected.likeliest[j].token);
        EXPECT_FLOAT_EQ(got.likeliest[j].logprob, expected.likeliest[j].logprob);
      }
    }
  }
}

TEST(Sampler, NeedsAllLogitsWhereMoreThanTheBestCount) {
  const auto candidates = [](auto&& change) {
    SamplingParams params;
    change(params);
    return Sampler(params, no_text).num_candidates();
  };
  EXPECT_EQ(candidates([](SamplingParams&) {}), 40);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.top_k = 0; }), 0);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.top_k = 65; }), 0);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.num_logprobs = 0; }), 40);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.num_logprobs = 50; }), 50);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.num_logprobs = 65; }), 0);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.logit_bias = {{3, 1.0f}}; }), 40);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.logit_bias.resize(2000); }), 0);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.penalties.repeat = 1.1f; }), 40);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.penalties = {-1, 1.1f}; }), 0);
  EXPECT_EQ(candidates([](SamplingParams& p) {
              p.logit_bias = {{3, 1.0f}};
              p.num_logprobs = 1;
            }),
            0);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.dry.multiplier = 0.8f; }), 0);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.mirostat.version = 2; }), 0);
  EXPECT_EQ(candidates([](SamplingParams& p) { p.top_n_sigma = 1; }), 0);
}

TEST(Sampler, IsGreedyAtTemperatureZero) {
  SamplingParams params;
  params.temperature = 0;
  params.xtc = {1.0f, 0.1f};
  Sampler sampler(params, no_text);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(sample(sampler, {1, 3, 2, 3}), 1);
  EXPECT_EQ(sample(sampler, {-1, -kInfinity, -2}), 0);
}

TEST(Sampler, FollowsTheDistribution) {
  Sampler sampler(neutral(), no_text);
  constexpr int kDraws = 50000;
  const double expected[] = {0.6, 0.3, 0.1};
  int counts[3] = {};
  for (int i = 0; i < kDraws; ++i) {
    ++counts[sample(sampler, {std::log(0.6f), std::log(0.3f), std::log(0.1f)})];
  }
  double chi_square = 0;
  for (int i = 0; i < 3; ++i) {
    const double mean = expected[i] * kDraws;
    chi_square += (counts[i] - mean) * (counts[i] - mean) / mean;
  }
  EXPECT_LT(chi_square, 13.8);  // 2 degrees of freedom, once in 1000 seeds
}

TEST(Sampler, TruncatesBeforeTheTemperature) {
  // At temperature 100 all three would be nearly even, but min-p saw 0.9, 0.09 and 0.01.
  SamplingParams params = neutral();
  params.temperature = 100;
  params.min_p = 0.05f;
  Sampler sampler(params, no_text);
  int counts[3] = {};
  for (int i = 0; i < 2000; ++i) {
    ++counts[sample(sampler, {std::log(0.9f), std::log(0.09f), std::log(0.01f)})];
  }
  EXPECT_EQ(counts[2], 0);
  EXPECT_GT(counts[1], 900);
}

TEST(Sampler, BiasForbidsAndForces) {
  SamplingParams params = neutral();
  params.logit_bias = {{0, -kInfinity}, {2, 1000.0f}, {50, 1.0f}};
  Sampler sampler(params, no_text);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(sample(sampler, {100, 0, 0}), 2);
}

TEST(Sampler, PenaltiesSeeThePromptToo) {
  SamplingParams params = neutral();
  params.temperature = 0;
  params.penalties = {.last_n = 64, .repeat = 1.0f, .frequency = 0.0f, .presence = 5.0f};
  Sampler sampler(params, no_text);
  sampler.accept(1);
  EXPECT_EQ(sample(sampler, {1, 3, 2}), 2);
}

TEST(Sampler, DryKnowsTheTextOfTokens) {
  SamplingParams params = neutral();
  params.temperature = 0;
  params.dry.multiplier = 10;
  Sampler plain(params, no_text);
  Sampler broken(params, [](std::int32_t token) { return token == 1 ? "\n" : "x"; });
  for (const std::int32_t token : {0, 1, 2, 0, 1}) {
    plain.accept(token);
    broken.accept(token);
  }
  EXPECT_EQ(sample(plain, {1, 0, 2}), 0);
  EXPECT_EQ(sample(broken, {1, 0, 2}), 2);  // the line ended: nothing is repeated
}

TEST(Sampler, GivesLogprobsOfTheModelNotOfTheSamplers) {
  SamplingParams params;
  params.num_logprobs = 2;
  params.temperature = 0;
  params.logit_bias = {{0, -kInfinity}};
  Sampler sampler(params, no_text);
  std::vector<float> logits = {std::log(0.7f), std::log(0.2f), std::log(0.1f)};
  const SampledToken sampled = sampler.sample(logits);
  EXPECT_EQ(sampled.token, 1);
  EXPECT_NEAR(sampled.logprob, std::log(0.2), 1e-6);
  ASSERT_EQ(sampled.likeliest.size(), 2u);
  EXPECT_EQ(sampled.likeliest[0].token, 0);
  EXPECT_NEAR(sampled.likeliest[0].logprob, std::log(0.7), 1e-6);
}

TEST(Sampler, MirostatTakesThePlaceOfTruncation) {
  SamplingParams params;  // top_k 40, top_p 0.95, min_p 0.05
  params.temperature = 1;
  params.top_k = 1;
  params.mirostat = {2, 10.0f, 0.0f};  // mu = 20 bits: nothing is left out
  Sampler sampler(params, no_text);
  bool saw_second = false;
  for (int i = 0; i < 200; ++i) saw_second |= sample(sampler, {1, 1}) == 1;
  EXPECT_TRUE(saw_second);
}

TEST(Sampler, SurvivesRowsWithoutAnyPossibleToken) {
  for (const float temperature : {0.0f, 1.0f}) {
    for (const std::int32_t mirostat : {0, 2}) {
      SamplingParams params;
      params.temperature = temperature;
      params.mirostat.version = mirostat;
      params.num_logprobs = 3;
      Sampler sampler(params, no_text);
      EXPECT_EQ(sample(sampler, {-kInfinity, -kInfinity}), 0);
      EXPECT_EQ(sample(sampler, {std::nanf(""), std::nanf("")}), 0);
      EXPECT_EQ(sample(sampler, {kInfinity}), 0);
      EXPECT_EQ(sample(sampler, {0, kInfinity, std::nanf("")}), 1);
    }
  }
}

// Every mix of samplers, on rows with all that may stand in them, chooses a token that is possible.
TEST(Sampler, AnyValidParametersChooseAPossibleToken) {
  Random random(31);
  const auto pick = [&](std::initializer_list<float> values) {
    return values.begin()[random.next() % values.size()];
  };
  for (int round = 0; round < 3000; ++round) {
    SamplingParams params;
    params.seed = random.next();
    params.temperature = pick({0.0f, 1e-30f, 0.7f, 2.0f, 1e30f});
    params.dynatemp_range = pick({0.0f, 0.5f, 5.0f});
    params.top_k = static_cast<std::int32_t>(pick({-1.0f, 0.0f, 1.0f, 3.0f, 100.0f}));
    params.top_p = pick({0.0f, 0.5f, 1.0f});
    params.min_p = pick({0.0f, 0.1f, 1.0f});
    params.typical_p = pick({0.0f, 0.5f, 1.0f});
    params.top_n_sigma = pick({-1.0f, 0.1f, 2.0f});
    params.min_keep = static_cast<std::int32_t>(pick({0.0f, 2.0f, 1000.0f}));
    params.penalties = {static_cast<std::int32_t>(pick({-1.0f, 0.0f, 4.0f})),
                        pick({1.0f, 1.5f, 0.5f}), pick({0.0f, -1e6f, 2.0f}), pick({0.0f, 3.0f})};
    params.dry.multiplier = pick({0.0f, 1.0f, 1e30f});
    params.xtc = {pick({0.0f, 0.5f, 1.0f}), pick({0.0f, 0.1f, 0.5f})};
    params.mirostat.version = static_cast<std::int32_t>(pick({0.0f, 0.0f, 2.0f}));
    params.logit_bias = {{1, -kInfinity}, {2, pick({0.0f, 3e38f, -3e38f})}};
    params.num_logprobs = static_cast<std::int32_t>(pick({-1.0f, 0.0f, 5.0f}));
    ASSERT_TRUE(validate(params, 8).ok());
    Sampler sampler(params, no_text);
    for (int step = 0; step < 8; ++step) {
      std::vector<float> logits(8, 0.0f);
      for (float& logit : logits) {
        logit = pick({-3.0f, 0.0f, 1.0f, 5.0f, 3e38f, -3e38f, -kInfinity, std::nanf("")});
      }
      logits[0] = 0.5f;  // one is always possible
      const std::vector<float> before = logits;
      const std::int32_t token = sampler.sample(logits).token;
      ASSERT_GE(token, 0);
      ASSERT_LT(token, 8);
      ASSERT_NE(token, 1);
      ASSERT_GT(before[static_cast<std::size_t>(token)], -kInfinity);  // nor is it NaN
      sampler.accept(token);
    }
  }
}

TEST(SamplerFactory, MakesSamplersThatKnowTheVocabulary) {
  const auto factory = make_sampler_factory(make_tokenizer(small_bpe_fields()));
  SamplingParams params = neutral();
  params.temperature = 0;
  const auto sampler = factory(params);
  sampler->accept(5);
  std::vector<float> logits = {0, 2, 1};
  EXPECT_EQ(sampler->sample(logits).token, 1);
}

TEST(Validate, TakesTheDefaultsAndNeutralValues) {
  EXPECT_TRUE(validate(SamplingParams{}, 10).ok());
  EXPECT_TRUE(validate(neutral(), 10).ok());
  SamplingParams off;
  off.temperature = -1;
  off.top_k = -5;
  off.logit_bias = {{9, -kInfinity}};
  EXPECT_TRUE(validate(off, 10).ok());
}

TEST(Validate, RefusesAndNamesWhatMakesNoSense) {
  const auto error_of = [](auto change) {
    SamplingParams params;
    change(params);
    const Status status = validate(params, 10);
    return status.ok() ? std::string("no error") : status.error().to_string();
  };
  using P = SamplingParams;
  EXPECT_THAT(error_of([](P& p) { p.temperature = std::nanf(""); }), HasSubstr("temperature"));
  EXPECT_THAT(error_of([](P& p) { p.temperature = kInfinity; }), HasSubstr("temperature"));
  EXPECT_THAT(error_of([](P& p) { p.top_p = 1.5f; }), HasSubstr("top_p out of range"));
  EXPECT_THAT(error_of([](P& p) { p.min_p = -0.1f; }), HasSubstr("min_p"));
  EXPECT_THAT(error_of([](P& p) { p.typical_p = -1; }), HasSubstr("typical_p"));
  EXPECT_THAT(error_of([](P& p) { p.min_keep = -1; }), HasSubstr("min_keep"));
  EXPECT_THAT(error_of([](P& p) { p.dynatemp_range = -1; }), HasSubstr("dynatemp_range"));
  EXPECT_THAT(error_of([](P& p) { p.penalties.last_n = -2; }), HasSubstr("repeat_last_n"));
  EXPECT_THAT(error_of([](P& p) { p.penalties.repeat = 0; }), HasSubstr("repeat_penalty"));
  EXPECT_THAT(error_of([](P& p) { p.dry.base = 0.5f; }), HasSubstr("dry_base"));
  EXPECT_THAT(error_of([](P& p) { p.dry.sequence_breakers.assign(300, "x"); }),
              HasSubstr("too many dry_sequence_breakers"));
  EXPECT_THAT(error_of([](P& p) { p.xtc.probability = 2; }), HasSubstr("xtc_probability"));
  EXPECT_THAT(error_of([](P& p) { p.mirostat.version = 1; }), HasSubstr("mirostat"));
  EXPECT_THAT(error_of([](P& p) { p.logit_bias = {{10, 0.0f}}; }), HasSubstr("logit_bias"));
  EXPECT_THAT(error_of([](P& p) { p.logit_bias = {{-1, 0.0f}}; }), HasSubstr("logit_bias"));
  EXPECT_THAT(error_of([](P& p) { p.logit_bias = {{1, kInfinity}}; }), HasSubstr("logit_bias"));
}

}  // namespace
}  // namespace tandem
