#include "engine/samplers/truncation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace tandem {

void apply_top_n_sigma(std::span<float> logits, float n) {
  if (n <= 0) return;
  double max = -std::numeric_limits<double>::infinity();
  double sum = 0;
  double sum_of_squares = 0;
  std::size_t count = 0;
  for (const float logit : logits) {
    if (!std::isfinite(logit)) continue;
    max = std::max<double>(max, logit);
    sum += logit;
    ++count;
  }
  if (count <= 1) return;
  const double mean = sum / static_cast<double>(count);
  for (const float logit : logits) {
    if (std::isfinite(logit)) sum_of_squares += (logit - mean) * (logit - mean);
  }
  const double deviation = std::sqrt(sum_of_squares / static_cast<double>(count));
  for (float& logit : logits) {
    if (logit < max - n * deviation) logit = -std::numeric_limits<float>::infinity();
  }
}

void apply_typical(Candidates& candidates, float p, std::size_t min_keep) {
  if (p >= 1 || candidates.size() <= 1) return;
  candidates.compute_probabilities();
  double entropy = 0;
  for (const Candidate& c : candidates.items()) {
    if (c.probability > 0) entropy -= c.probability * std::log(c.probability);
  }
  std::vector<std::pair<double, Candidate>> by_distance;
  by_distance.reserve(candidates.size());
  for (const Candidate& c : candidates.items()) {
    const double surprise = -std::log(std::max(c.probability, std::numeric_limits<double>::min()));
    by_distance.emplace_back(std::abs(surprise - entropy), c);
  }
  std::sort(by_distance.begin(), by_distance.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : is_better(a.second, b.second);
  });
  double total = 0;
  std::vector<Candidate> kept;
  for (const auto& [distance, candidate] : by_distance) {
    kept.push_back(candidate);
    total += candidate.probability;
    if (total > p && kept.size() >= min_keep) break;
  }
  candidates.assign(std::move(kept));
}

void apply_top_p(Candidates& candidates, float p, std::size_t min_keep) {
  if (p >= 1 || candidates.size() <= 1) return;
  candidates.compute_probabilities();
  double total = 0;
  std::size_t sorted = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (i == sorted) {  // few are needed as a rule: sort them as they are reached
      sorted = sorted == 0 ? 64 : 4 * sorted;
      candidates.sort_prefix(sorted);
    }
    total += candidates[i].probability;
    if (total >= p && i + 1 >= min_keep) {
      candidates.keep_first(i + 1);
      return;
    }
  }
}

void apply_min_p(Candidates& candidates, float p, std::size_t min_keep) {
  if (p <= 0 || candidates.size() <= 1) return;
  const double threshold = candidates.max_logit() + std::log(std::min(double{p}, 1.0));
  const auto is_dropped = [&](const Candidate& c) { return c.logit < threshold; };
  const auto num_kept =
      static_cast<std::size_t>(std::count_if(candidates.items().begin(), candidates.items().end(),
                                             [&](const Candidate& c) { return !is_dropped(c); }));
  if (num_kept >= min_keep) {
    candidates.drop_if(is_dropped);
  } else {
    candidates.sort_prefix(min_keep);
    candidates.keep_first(min_keep);
  }
}

void apply_xtc(Candidates& candidates, float probability, float threshold, std::size_t min_keep,
               Random& random) {
  if (probability <= 0 || threshold > 0.5f || candidates.size() < 2) return;
  if (random.uniform() >= probability) return;
  candidates.compute_probabilities();
  std::size_t num_above = 0;
  for (const Candidate& c : candidates.items()) {
    if (c.probability >= threshold) ++num_above;
  }
  if (num_above < 2) return;
  const std::size_t num_dropped = num_above - 1;
  if (candidates.size() - num_dropped < min_keep) return;
  candidates.sort_prefix(num_above);
  candidates.drop_first(num_dropped);
}

}  // namespace tandem
