#include "nn/token_candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace tandem {

TokenCandidates::TokenCandidates(std::vector<std::int32_t> wanted,
                                 std::vector<std::int64_t> first_tokens, bool have_log_sums)
    : wanted_(std::move(wanted)),
      first_tokens_(std::move(first_tokens)),
      have_log_sums_(have_log_sums) {
  if (!wanted_.empty()) per_rank_ = *std::ranges::max_element(wanted_);
  const std::size_t count = place(first_tokens_.size(), 0);
  logits_.resize(count);
  tokens_.resize(count, -1);
  if (!have_log_sums_) return;
  largest_.resize(line(first_tokens_.size(), 0), -std::numeric_limits<float>::infinity());
  sums_.resize(largest_.size());
}

double TokenCandidates::log_sum(std::int64_t row) const {
  double highest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (std::size_t rank = 0; rank < first_tokens_.size(); ++rank) {
    highest = std::max(highest, double(largest_[line(rank, row)]));
  }
  if (std::isinf(highest)) return 0;
  for (std::size_t rank = 0; rank < first_tokens_.size(); ++rank) {
    const std::size_t at = line(rank, row);
    if (sums_[at] > 0) sum += double(sums_[at]) * std::exp(double(largest_[at]) - highest);
  }
  return highest + std::log(sum);
}

bool TokenCandidates::are_for_all_rows() const {
  return !wanted_.empty() &&
         std::ranges::all_of(wanted_, [](std::int32_t wanted) { return wanted > 0; });
}

std::vector<TokenLogit> TokenCandidates::best(std::int64_t row) const {
  std::vector<TokenLogit> all;
  for (std::size_t rank = 0; rank < first_tokens_.size(); ++rank) {
    const std::size_t begin = place(rank, row);
    for (std::size_t i = begin; i < begin + static_cast<std::size_t>(per_rank_); ++i) {
      if (tokens_[i] < 0) break;
      all.push_back({tokens_[i] + static_cast<std::int32_t>(first_tokens_[rank]), logits_[i]});
    }
  }
  std::ranges::sort(all, [](const TokenLogit& a, const TokenLogit& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  });
  const auto wanted = static_cast<std::size_t>(wanted_[static_cast<std::size_t>(row)]);
  if (all.size() > wanted) all.resize(wanted);
  return all;
}

}  // namespace tandem
