#include "engine/samplers/mirostat.h"

#include <cmath>

namespace tandem {

std::size_t Mirostat::draw(Candidates& candidates, Random& random) {
  candidates.compute_probabilities();
  candidates.sort_prefix(1);
  const double least = std::exp2(-mu_);
  const std::int32_t best = candidates[0].token;  // stays, however surprising
  candidates.drop_if([&](const Candidate& c) { return c.probability < least && c.token != best; });
  const std::size_t chosen = candidates.draw(random);
  const double surprise = -std::log2(candidates[chosen].probability);
  mu_ -= params_.eta * (surprise - params_.tau);
  return chosen;
}

}  // namespace tandem
