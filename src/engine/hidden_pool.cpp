#include "engine/hidden_pool.h"

namespace tandem {

void HiddenPool::start_over() {
  sum_.clear();
  count_ = 0;
}

void HiddenPool::add(std::span<const float> state) {
  sum_.resize(state.size(), 0.0);
  for (std::size_t i = 0; i < state.size(); ++i) sum_[i] += static_cast<double>(state[i]);
  ++count_;
}

std::vector<float> HiddenPool::take() {
  std::vector<float> mean;
  mean.reserve(sum_.size());
  for (const double sum : sum_) {
    mean.push_back(static_cast<float>(sum / static_cast<double>(count_)));
  }
  start_over();
  return mean;
}

}  // namespace tandem
