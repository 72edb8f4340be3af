#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tandem {

struct TokenLogit {
  std::int32_t token = 0;
  float logit = 0;
};

// The best logits of a step's output rows, where more are not wanted, gathered from the ranks that
// hold parts of the vocabulary: a few numbers leave each device in the place of all its logits.
class TokenCandidates {
 public:
  TokenCandidates() = default;
  // wanted: for each output row of the step how many of the best, 0 where all logits are.
  // first_tokens: where each rank's part of the vocabulary begins. have_log_sums: each rank also
  // gives, of every row, what log_sum() is made of.
  TokenCandidates(std::vector<std::int32_t> wanted, std::vector<std::int64_t> first_tokens,
                  bool have_log_sums = false);

  bool are_wanted(std::int64_t row) const {
    return !wanted_.empty() && wanted_[static_cast<std::size_t>(row)] > 0;
  }
  bool are_for_all_rows() const;
  // What each rank gives of each row: the most that any row wants; 0: nothing at all.
  std::int32_t per_rank() const { return per_rank_; }

  // Where rank `rank` puts its best of row `row`, best first, ties to the lower one, tokens
  // numbered from its own first one: [per_rank()], and rows follow one another. What is not written
  // counts as none. Different ranks may write at once.
  float* logits(std::size_t rank, std::int64_t row) { return logits_.data() + place(rank, row); }
  std::int32_t* tokens(std::size_t rank, std::int64_t row) {
    return tokens_.data() + place(rank, row);
  }

  // The same for the largest of all its logits of the row, and the sum of exp(logit - largest).
  bool have_log_sums() const { return have_log_sums_; }
  float* largest(std::size_t rank, std::int64_t row) { return largest_.data() + line(rank, row); }
  float* sums(std::size_t rank, std::int64_t row) { return sums_.data() + line(rank, row); }

  // The best of all ranks, best first, ties to the lower token.
  std::vector<TokenLogit> best(std::int64_t row) const;
  // The logarithm of the sum of exp(logit) over all tokens; 0 where none is possible.
  double log_sum(std::int64_t row) const;

 private:
  std::size_t line(std::size_t rank, std::int64_t row) const {
    return rank * wanted_.size() + static_cast<std::size_t>(row);
  }
  std::size_t place(std::size_t rank, std::int64_t row) const {
    return line(rank, row) * static_cast<std::size_t>(per_rank_);
  }

  std::vector<std::int32_t> wanted_;
  std::vector<std::int64_t> first_tokens_;
  std::int32_t per_rank_ = 0;
  std::vector<float> logits_;         // [rank, row, per_rank]
  std::vector<std::int32_t> tokens_;  // the same; -1: none
  bool have_log_sums_ = false;
  std::vector<float> largest_;  // [rank, row]
  std::vector<float> sums_;
};

}  // namespace tandem
