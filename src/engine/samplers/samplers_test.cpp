// Each sampler by itself, on cases small enough to be computed by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "engine/samplers/candidates.h"
#include "engine/samplers/dry.h"
#include "engine/samplers/logprobs.h"
#include "engine/samplers/mirostat.h"
#include "engine/samplers/penalties.h"
#include "engine/samplers/temperature.h"
#include "engine/samplers/truncation.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::UnorderedElementsAre;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Candidates whose softmax is `probabilities`, in that order.
Candidates make(const std::vector<double>& probabilities, std::int32_t top_k = 0) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  Candidates candidates;
  candidates.assign(logits, top_k);
  return candidates;
}

std::vector<std::int32_t> tokens_of(const Candidates& candidates) {
  std::vector<std::int32_t> tokens;
  for (const Candidate& c : candidates.items()) tokens.push_back(c.token);
  return tokens;
}

TEST(Random, IsSplitMix64) {
  // The reference sequence for the seed 1234567 (Vigna's splitmix64.c).
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317ull);
  EXPECT_EQ(random.next(), 3203168211198807973ull);
  EXPECT_EQ(random.next(), 9817491932198370423ull);
}

TEST(Random, UniformFillsTheUnitInterval) {
  Random random(1);
  int counts[10] = {};
  for (int i = 0; i < 100000; ++i) {
    const double u = random.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++counts[static_cast<int>(u * 10)];
  }
  // Chi-square with 9 degrees of freedom: 27.9 is exceeded once in 1000 seeds.
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 1e4) * (count - 1e4) / 1e4;
  EXPECT_LT(chi_square, 27.9);
}

TEST(Candidates, TopKKeepsTheBestInOrder) {
  EXPECT_THAT(tokens_of(make({0.1, 0.3, 0.2, 0.25, 0.15}, 3)), ElementsAre(1, 3, 2));
  EXPECT_THAT(tokens_of(make({0.2, 0.2, 0.2, 0.2, 0.2}, 2)), ElementsAre(0, 1));
  EXPECT_EQ(make({0.5, 0.5}, 0).size(), 2u);
  EXPECT_EQ(make({0.5, 0.5}, 7).size(), 2u);
}

TEST(Candidates, LeavesOutWhatIsForbiddenOrNoNumber) {
  const float logits[] = {kForbidden, 1.0f, std::nanf(""), std::numeric_limits<float>::infinity()};
  Candidates candidates;
  candidates.assign(logits, 0);
  EXPECT_THAT(tokens_of(candidates), ElementsAre(1, 3));
  candidates.compute_probabilities();
  EXPECT_EQ(candidates[1].probability, 1.0);
}

TEST(Candidates, SortsAPrefixOnly) {
  Candidates candidates = make({0.1, 0.3, 0.2, 0.25, 0.15});
  candidates.sort_prefix(2);
  EXPECT_EQ(candidates[0].token, 1);
  EXPECT_EQ(candidates[1].token, 3);
  candidates.sort_prefix(9);
  EXPECT_THAT(tokens_of(candidates), ElementsAre(1, 3, 2, 4, 0));
  candidates.drop_if([](const Candidate& c) { return c.token == 1; });
  EXPECT_EQ(candidates.max_logit(), candidates[0].logit);
}

TEST(Candidates, DrawsByProbability) {
  Candidates candidates = make({0.5, 0.3, 0.15, 0.05});
  Random random(42);
  constexpr int kDraws = 100000;
  int counts[4] = {};
  for (int i = 0; i < kDraws; ++i) ++counts[candidates[candidates.draw(random)].token];
  const double expected[] = {0.5 * kDraws, 0.3 * kDraws, 0.15 * kDraws, 0.05 * kDraws};
  double chi_square = 0;
  for (int i = 0; i < 4; ++i) {
    chi_square += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
  }
  EXPECT_LT(chi_square, 16.3);  // 3 degrees of freedom, once in 1000 seeds
}

TEST(TopP, KeepsTheFewestThatReachP) {
  const auto kept = [](float p, std::size_t min_keep) {
    Candidates candidates = make({0.1, 0.5, 0.15, 0.25});
    apply_top_p(candidates, p, min_keep);
    return tokens_of(candidates);
  };
  EXPECT_THAT(kept(0.7f, 0), ElementsAre(1, 3));
  EXPECT_THAT(kept(0.8f, 0), ElementsAre(1, 3, 2));
  EXPECT_THAT(kept(0.0f, 0), ElementsAre(1));
  EXPECT_THAT(kept(0.0f, 3), ElementsAre(1, 3, 2));
  EXPECT_EQ(kept(1.0f, 0).size(), 4u);
}

TEST(TopP, SortsAsFarAsItNeeds) {
  Candidates candidates = make(std::vector<double>(1000, 0.001));
  apply_top_p(candidates, 0.5004f, 0);
  EXPECT_EQ(candidates.size(), 501u);
  EXPECT_EQ(candidates[500].token, 500);
}

TEST(MinP, KeepsWhatIsLikelyBesideTheBest) {
  const auto kept = [](float p, std::size_t min_keep) {
    Candidates candidates = make({0.05, 0.5, 0.15, 0.3});
    apply_min_p(candidates, p, min_keep);
    return tokens_of(candidates);
  };
  EXPECT_THAT(kept(0.29f, 0), UnorderedElementsAre(1, 2, 3));  // 0.145
  EXPECT_THAT(kept(0.4f, 0), UnorderedElementsAre(1, 3));
  EXPECT_THAT(kept(1.0f, 0), ElementsAre(1));
  EXPECT_THAT(kept(1.0f, 2), ElementsAre(1, 3));
  EXPECT_EQ(kept(0.0f, 0).size(), 4u);
}

TEST(Typical, KeepsWhatIsAsSurprisingAsExpected) {
  // Entropy of {0.5, 0.25, 0.125, 0.125}: 1.75 bits. Distances of the surprises 1, 2, 3, 3 bits:
  // 0.75, 0.25, 1.25, 1.25.
  const auto kept = [](float p, std::size_t min_keep) {
    Candidates candidates = make({0.5, 0.25, 0.125, 0.125});
    apply_typical(candidates, p, min_keep);
    return tokens_of(candidates);
  };
  EXPECT_THAT(kept(0.2f, 0), ElementsAre(1));
  EXPECT_THAT(kept(0.5f, 0), ElementsAre(1, 0));
  EXPECT_THAT(kept(0.8f, 0), ElementsAre(1, 0, 2));
  EXPECT_THAT(kept(0.2f, 3), ElementsAre(1, 0, 2));
  EXPECT_EQ(kept(1.0f, 0).size(), 4u);
}

TEST(TopNSigma, ForbidsWhatLiesFarBelowTheBest) {
  // Mean 2, deviation sqrt(2): two deviations below 4 is 1.17.
  std::vector<float> logits = {0, 1, 2, 3, 4, kForbidden};
  apply_top_n_sigma(logits, 2.0f);
  EXPECT_THAT(logits, ElementsAre(kForbidden, kForbidden, 2, 3, 4, kForbidden));
  apply_top_n_sigma(logits, -1.0f);
  EXPECT_EQ(logits[2], 2);
}

TEST(Xtc, RemovesAllAboveTheThresholdButTheLast) {
  Random random(3);
  Candidates candidates = make({0.4, 0.3, 0.2, 0.1});
  apply_xtc(candidates, 1.0f, 0.15f, 0, random);
  EXPECT_THAT(tokens_of(candidates), ElementsAre(2, 3));

  candidates = make({0.7, 0.1, 0.1, 0.1});  // one above: it stays
  apply_xtc(candidates, 1.0f, 0.15f, 0, random);
  EXPECT_EQ(candidates.size(), 4u);

  candidates = make({0.4, 0.3, 0.2, 0.1});  // would leave fewer than min_keep
  apply_xtc(candidates, 1.0f, 0.15f, 3, random);
  EXPECT_EQ(candidates.size(), 4u);
}

TEST(Xtc, HappensAsOftenAsAsked) {
  Random random(9);
  int count = 0;
  for (int i = 0; i < 10000; ++i) {
    Candidates candidates = make({0.4, 0.3, 0.2, 0.1});
    apply_xtc(candidates, 0.3f, 0.15f, 0, random);
    count += candidates.size() == 2 ? 1 : 0;
  }
  EXPECT_NEAR(count, 3000, 4 * std::sqrt(10000 * 0.3 * 0.7));  // four standard deviations
}

TEST(Temperature, SharpensAndFlattens) {
  Candidates candidates = make({0.8, 0.2});
  apply_temperature(candidates, 0.5f);
  candidates.compute_probabilities();
  EXPECT_NEAR(candidates[0].probability, 0.64 / 0.68, 1e-6);
  apply_temperature(candidates, 1e-38f);
  candidates.compute_probabilities();
  EXPECT_EQ(candidates[0].probability, 1.0);
}

TEST(DynamicTemperature, FollowsTheEntropy) {
  // Entropy 0.5623 nats, maximum ln 2: normalised 0.8113; temperature 0.5 + 0.8113 * 1.
  Candidates candidates = make({0.75, 0.25});
  apply_dynamic_temperature(candidates, 1.0f, 0.5f, 1.0f);
  EXPECT_NEAR(candidates[1].logit, -std::log(3.0) / 1.31128, 1e-4);

  // Normalised entropy 0 and temperature - range 0: the best alone.
  Candidates certain = make({1.0, 1e-30});
  apply_dynamic_temperature(certain, 1.0f, 1.0f, 100.0f);
  EXPECT_THAT(tokens_of(certain), ElementsAre(0));
}

TEST(Penalties, LowerWhatWasSeen) {
  Penalties penalties({.last_n = 3, .repeat = 2.0f, .frequency = 0.5f, .presence = 0.25f});
  std::vector<std::int32_t> history;
  for (const std::int32_t token : {0, 1, 2, 2}) {  // the 0 has left the window
    history.push_back(token);
    penalties.accept(history);
  }
  std::vector<float> logits = {4, 4, -4, 4};
  penalties.apply(logits);
  EXPECT_THAT(logits, ElementsAre(4, 2 - 0.75f, -8 - 1.25f, 4));
}

TEST(Penalties, TheWholeContextOrNothing) {
  std::vector<float> logits = {4, 4};
  Penalties all({.last_n = -1, .presence = 1.0f});
  Penalties none({.last_n = 0, .presence = 1.0f});
  std::vector<std::int32_t> history;
  for (int i = 0; i < 1000; ++i) {
    history.push_back(i == 0 ? 0 : 7);
    all.accept(history);
    none.accept(history);
  }
  none.apply(logits);
  EXPECT_THAT(logits, ElementsAre(4, 4));
  all.apply(logits);  // token 7 lies outside the row and is ignored
  EXPECT_THAT(logits, ElementsAre(3, 4));
}

std::string letter(std::int32_t token) {
  return std::string(1, static_cast<char>('a' + token));
}

// The logits that DRY makes of zeros after `text`, whose letters are the tokens.
std::vector<float> dry_logits(const DryParams& params, std::string_view text) {
  Dry dry(params, letter);
  std::vector<std::int32_t> history;
  for (const char c : text) {
    history.push_back(c - 'a');
    dry.accept(history.back());
  }
  std::vector<float> logits(6, 0.0f);
  dry.apply(history, logits);
  return logits;
}

TEST(Dry, LowersWhatWouldLengthenARepetition) {
  const DryParams params{.multiplier = 1, .base = 2, .allowed_length = 2};
  // "abc" came before and was followed by d: length 3, so 2^(3-2). Of "bc" after e, the longest
  // counts for its own follower f: 2^0.
  EXPECT_THAT(dry_logits(params, "ebcfabcdabc"), ElementsAre(0, 0, 0, -2, 0, -1));
  EXPECT_THAT(dry_logits(params, "abdab"), ElementsAre(0, 0, 0, -1, 0, 0));
  EXPECT_THAT(dry_logits(params, "adba"), ElementsAre(0, 0, 0, 0, 0, 0));  // 1 is allowed
  EXPECT_THAT(dry_logits(params, "aaaa"), ElementsAre(-2, 0, 0, 0, 0, 0));
}

TEST(Dry, ABreakerEndsTheRepetition) {
  DryParams params{.multiplier = 1, .base = 2, .allowed_length = 2, .sequence_breakers = {"b"}};
  EXPECT_THAT(dry_logits(params, "abcdeabcd"), ElementsAre(0, 0, 0, 0, -1, 0));  // "cd" is left
  params.sequence_breakers = {"c"};
  EXPECT_EQ(dry_logits(params, "abcdeabcd")[4], 0);  // "d" alone
  params.sequence_breakers = {"bc", "ffffff"};       // across two tokens
  EXPECT_EQ(dry_logits(params, "abcdeabcd")[4], 0);
  params.sequence_breakers = {"a", "ffffff"};  // the first breaker still in reach, but not again
  EXPECT_EQ(dry_logits(params, "abcdeabcd")[4], -2);
}

TEST(Dry, LooksBackAsFarAsAsked) {
  DryParams params{.multiplier = 1, .base = 2, .allowed_length = 2, .last_n = 4};
  EXPECT_EQ(dry_logits(params, "abcddab")[2], 0);
  params.last_n = 7;
  EXPECT_EQ(dry_logits(params, "abcddab")[2], -1);
}

TEST(Dry, AgreesWithASearchForEveryPair) {
  const DryParams params{.multiplier = 1, .base = 1.5f, .allowed_length = 2};
  Random random(17);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (int i = 0; i < 30; ++i) text += static_cast<char>('a' + random.next() % 3);
    std::vector<float> expected(6, 0.0f);
    for (std::size_t end = 1; end < text.size(); ++end) {  // an earlier place, text[end] follows
      std::size_t length = 0;
      while (length < end && text[end - 1 - length] == text[text.size() - 1 - length]) ++length;
      if (length < 2) continue;
      float& entry = expected[static_cast<std::size_t>(text[end] - 'a')];
      entry = std::min(entry, static_cast<float>(-std::pow(1.5, static_cast<double>(length) - 2)));
    }
    ASSERT_EQ(dry_logits(params, text), expected) << text;
  }
}

TEST(Mirostat, LeavesOutWhatIsTooSurprisingAndFollowsTau) {
  Mirostat mirostat({.version = 2, .tau = 1.1f, .eta = 0.5f});  // mu = 2.2 bits
  Random random(1);
  Candidates candidates = make({0.5, 0.25, 0.125, 0.125});  // 1, 2, 3, 3 bits
  const std::size_t chosen = mirostat.draw(candidates, random);
  EXPECT_THAT(tokens_of(candidates), UnorderedElementsAre(0, 1));
  const double probability = candidates[chosen].token == 0 ? 2.0 / 3 : 1.0 / 3;
  EXPECT_NEAR(mirostat.mu(), 2.2 - 0.5 * (-std::log2(probability) - 1.1), 1e-6);
}

TEST(Mirostat, KeepsTheBestWhateverTheBound) {
  Mirostat mirostat({.version = 2, .tau = 0.0f, .eta = 0.1f});
  Random random(1);
  Candidates candidates = make({0.4, 0.6});
  EXPECT_EQ(candidates[mirostat.draw(candidates, random)].token, 1);
  EXPECT_EQ(candidates.size(), 1u);
}

TEST(Mirostat, HoldsTheMeanSurprise) {
  std::vector<double> zipf;
  for (int i = 1; i <= 1000; ++i) zipf.push_back(1.0 / i);
  Mirostat mirostat({.version = 2, .tau = 3.0f, .eta = 0.1f});
  Random random(23);
  double sum = 0;
  for (int i = 0; i < 4000; ++i) {
    Candidates candidates = make(zipf);
    const double before = mirostat.mu();
    mirostat.draw(candidates, random);
    sum += 3.0 + (before - mirostat.mu()) / 0.1;  // the surprise, from the step of mu
  }
  EXPECT_NEAR(sum / 4000, 3.0, 0.1);
}

TEST(Logprobs, AreThoseOfTheSoftmax) {
  const float logits[] = {std::log(0.2f), std::log(0.5f), kForbidden, std::log(0.3f),
                          std::nanf("")};
  const Logprobs logprobs(logits);
  EXPECT_NEAR(logprobs.of(1), std::log(0.5), 1e-6);
  EXPECT_EQ(logprobs.of(2), kForbidden);
  EXPECT_EQ(logprobs.of(-1), kForbidden);
  EXPECT_EQ(logprobs.of(99), kForbidden);
  const auto best = logprobs.likeliest(2);
  ASSERT_EQ(best.size(), 2u);
  EXPECT_EQ(best[0].token, 1);
  EXPECT_EQ(best[1].token, 3);
  EXPECT_THAT(best[1].logprob, FloatNear(std::log(0.3f), 1e-6f));
  EXPECT_EQ(logprobs.likeliest(100).size(), 3u);
  EXPECT_TRUE(logprobs.likeliest(0).empty());
}

}  // namespace
}  // namespace tandem
