#include "nn/token_candidates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace tandem {
namespace {

void put(TokenCandidates& candidates, std::size_t rank, std::int64_t row,
         const std::vector<TokenLogit>& best) {
  for (std::size_t i = 0; i < best.size(); ++i) {
    candidates.tokens(rank, row)[i] = best[i].token;
    candidates.logits(rank, row)[i] = best[i].logit;
  }
}

std::vector<std::int32_t> tokens_of(const std::vector<TokenLogit>& best) {
  std::vector<std::int32_t> tokens;
  for (const TokenLogit& one : best) tokens.push_back(one.token);
  return tokens;
}

// Two ranks, the second one's tokens from 100 on; equal logits go to the lower token.
TEST(TokenCandidates, AreTheBestOfAllRanks) {
  TokenCandidates candidates({3, 0, 2}, {0, 100});
  EXPECT_EQ(candidates.per_rank(), 3);
  EXPECT_TRUE(candidates.are_wanted(0));
  EXPECT_FALSE(candidates.are_wanted(1));
  EXPECT_FALSE(candidates.are_for_all_rows());
  put(candidates, 0, 0, {{7, 2.0f}, {8, 1.0f}, {9, 0.5f}});
  put(candidates, 1, 0, {{4, 3.0f}, {5, 2.0f}, {6, -1.0f}});
  put(candidates, 0, 2, {{1, 0.0f}});  // a rank with one token only
  put(candidates, 1, 2, {{0, 5.0f}, {2, 4.0f}, {3, 3.0f}});
  EXPECT_EQ(tokens_of(candidates.best(0)), (std::vector<std::int32_t>{104, 7, 105}));
  EXPECT_EQ(tokens_of(candidates.best(2)), (std::vector<std::int32_t>{100, 102}));
}

TEST(TokenCandidates, SumOverAllRanks) {
  TokenCandidates candidates({1, 1}, {0, 100, 200}, true);
  // Row 0: exp(2) + exp(1), exp(3), and a rank without tokens; row 1: nothing is possible.
  *candidates.largest(0, 0) = 2.0f;
  *candidates.sums(0, 0) = 1.0f + std::exp(-1.0f);
  *candidates.largest(1, 0) = 3.0f;
  *candidates.sums(1, 0) = 1.0f;
  EXPECT_NEAR(candidates.log_sum(0), std::log(std::exp(2.0) + std::exp(1.0) + std::exp(3.0)), 1e-6);
  EXPECT_EQ(candidates.log_sum(1), 0.0);
  EXPECT_FALSE(TokenCandidates({1}, {0}).have_log_sums());
}

TEST(TokenCandidates, NoneAreWantedWhereNobodyAsks) {
  const TokenCandidates candidates;
  EXPECT_EQ(candidates.per_rank(), 0);
  EXPECT_FALSE(candidates.are_wanted(3));
  EXPECT_FALSE(candidates.are_for_all_rows());
  EXPECT_TRUE(TokenCandidates({1, 4}, {0}).are_for_all_rows());
}

}  // namespace
}  // namespace tandem
