#include "engine/samplers/temperature.h"

#include <algorithm>
#include <cmath>

namespace tandem {

void apply_temperature(Candidates& candidates, float temperature) {
  if (candidates.empty()) return;
  const float max = candidates.max_logit();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    // From 0 down, so that a tiny temperature cannot overflow to +infinity.
    const double scaled = (double{candidates[i].logit} - max) / temperature;
    candidates[i].logit = static_cast<float>(std::max<double>(scaled, -Candidates::kMaxLogit));
  }
}

void apply_dynamic_temperature(Candidates& candidates, float temperature, float range,
                               float exponent) {
  if (range <= 0) {
    apply_temperature(candidates, temperature);
    return;
  }
  if (candidates.size() <= 1) return;
  const double low = std::max(0.0, double{temperature} - range);
  const double high = double{temperature} + range;
  candidates.compute_probabilities();
  double entropy = 0;
  for (const Candidate& c : candidates.items()) {
    if (c.probability > 0) entropy -= c.probability * std::log(c.probability);
  }
  const double max_entropy = std::log(static_cast<double>(candidates.size()));
  const double chosen = low + (high - low) * std::pow(entropy / max_entropy, exponent);
  if (chosen > 0) {
    apply_temperature(candidates, static_cast<float>(chosen));
  } else {
    candidates.sort_prefix(1);
    candidates.keep_first(1);
  }
}

}  // namespace tandem
