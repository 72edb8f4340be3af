#include "engine/samplers/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace tandem {

namespace {

// Is any of them above `least`? NaN is not.
bool any_above(std::span<const float> logits, float least) {
  int count = 0;
  for (const float logit : logits) count += logit > least ? 1 : 0;
  return count > 0;
}

}  // namespace

void Candidates::assign(std::span<const float> logits, std::int32_t top_k) {
  // Where a few are kept, most runs of logits hold none of them, which vectors see at once.
  constexpr std::size_t kRun = 64;
  items_.clear();
  num_sorted_ = 0;
  const std::size_t limit = top_k > 0 ? static_cast<std::size_t>(top_k) : logits.size();
  const bool is_limited = limit < logits.size();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    while (is_limited && items_.size() == limit && i % kRun == 0 && i + kRun < logits.size() &&
           !any_above(logits.subspan(i, kRun), items_.front().logit)) {
      i += kRun;
    }
    // Also false for NaN.
    if (!(logits[i] >= -std::numeric_limits<float>::max())) continue;
    const Candidate candidate{static_cast<std::int32_t>(i),
                              std::clamp(logits[i], -kMaxLogit, kMaxLogit), 0};
    if (!is_limited) {
      items_.push_back(candidate);
    } else if (items_.size() < limit) {
      items_.push_back(candidate);
      std::push_heap(items_.begin(), items_.end(), is_better);
    } else if (is_better(candidate, items_.front())) {  // the worst of those kept
      std::pop_heap(items_.begin(), items_.end(), is_better);
      items_.back() = candidate;
      std::push_heap(items_.begin(), items_.end(), is_better);
    }
  }
  if (is_limited) {
    std::sort_heap(items_.begin(), items_.end(), is_better);
    num_sorted_ = items_.size();
  }
}

void Candidates::assign(std::span<const TokenLogit> best) {
  items_.clear();
  for (const auto& [token, logit] : best) {
    if (!(logit >= -std::numeric_limits<float>::max())) continue;  // or NaN
    items_.push_back({token, std::clamp(logit, -kMaxLogit, kMaxLogit), 0});
  }
  // Beyond kMaxLogit different logits have become equal.
  std::sort(items_.begin(), items_.end(), is_better);
  num_sorted_ = items_.size();
}

void Candidates::assign(std::vector<Candidate> items) {
  items_ = std::move(items);
  num_sorted_ = 0;
}

void Candidates::sort_prefix(std::size_t count) {
  count = std::min(count, items_.size());
  if (count <= num_sorted_) return;
  const auto begin = items_.begin() + static_cast<std::ptrdiff_t>(num_sorted_);
  const auto middle = items_.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(begin, middle, items_.end(), is_better);
  num_sorted_ = count;
}

void Candidates::keep_first(std::size_t count) {
  items_.resize(std::min(count, items_.size()));
  num_sorted_ = std::min(num_sorted_, items_.size());
}

void Candidates::drop_first(std::size_t count) {
  count = std::min(count, items_.size());
  items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(count));
  num_sorted_ -= std::min(count, num_sorted_);
}

float Candidates::max_logit() const {
  if (num_sorted_ > 0) return items_.front().logit;
  float max = items_.front().logit;
  for (const Candidate& candidate : items_) max = std::max(max, candidate.logit);
  return max;
}

void Candidates::compute_probabilities() {
  if (items_.empty()) return;
  const double max = max_logit();
  double sum = 0;
  for (Candidate& candidate : items_) {
    candidate.probability = std::exp(candidate.logit - max);
    sum += candidate.probability;
  }
  for (Candidate& candidate : items_) candidate.probability /= sum;
}

std::size_t Candidates::draw(Random& random) {
  compute_probabilities();
  double left = random.uniform();
  std::size_t last_possible = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (items_[i].probability <= 0) continue;
    left -= items_[i].probability;
    if (left < 0) return i;
    last_possible = i;  // where rounding leaves a rest of the draw
  }
  return last_possible;
}

}  // namespace tandem
