#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "support/reference_model.h"

namespace tandem::test {

// The README of the reference models: where two tokens' logits are closer than 4 sigma of the noise
// that a tolerance (NMSE) permits, either is right.
inline double near_tie(const ReferencePrompt& prompt, double tolerance) {
  return 4 * std::sqrt(2 * tolerance / 3) * prompt.logit_sd;
}

// The greedy text of the oracle, or a part of it; another token is accepted only in a near-tie,
// where it is the oracle's second choice.
inline void expect_greedy(const ReferencePrompt& prompt, const std::vector<std::int32_t>& got,
                          double tolerance) {
  ASSERT_LE(got.size(), prompt.greedy.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == prompt.greedy[i]) continue;
    EXPECT_EQ(got[i], prompt.greedy_second[i]) << prompt.name << ", greedy token " << i;
    EXPECT_LT(prompt.exact_greedy_gap[i], near_tie(prompt, tolerance))
        << prompt.name << ", greedy token " << i;
    return;  // what follows is another text
  }
}

}  // namespace tandem::test
