#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/samplers/random.h"
#include "nn/token_candidates.h"

namespace tandem {

struct Candidate {
  std::int32_t token = 0;
  float logit = 0;         // finite
  double probability = 0;  // as of the last compute_probabilities()
};

// Best first: by logit, equals by token id, so that the order does not depend on how it was found.
inline bool is_better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// The tokens that a step may still choose. Truncating samplers remove some. A prefix of the list is
// sorted, best first, as far as some sampler has asked for it; the rest is in no order, but not
// better than the prefix.
class Candidates {
 public:
  // Logits beyond this are taken as this: differences must not overflow.
  static constexpr float kMaxLogit = 1e30f;

  // Takes every token whose logit is neither -infinity nor NaN; of those the `top_k` best, sorted,
  // where top_k > 0. logits: [vocabulary_size].
  void assign(std::span<const float> logits, std::int32_t top_k);
  // The same from the best of them, best first.
  void assign(std::span<const TokenLogit> best);
  // The same from a list, for tests.
  void assign(std::vector<Candidate> items);

  std::size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  Candidate& operator[](std::size_t index) { return items_[index]; }
  const Candidate& operator[](std::size_t index) const { return items_[index]; }
  const std::vector<Candidate>& items() const { return items_; }

  // Sorts at least the first `count`, or all.
  void sort_prefix(std::size_t count);
  void keep_first(std::size_t count);
  void drop_first(std::size_t count);
  // Removes those for which `is_dropped` holds; the order of the others stays.
  template <typename Predicate>
  void drop_if(const Predicate& is_dropped) {
    std::size_t kept = 0;
    std::size_t sorted = 0;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (is_dropped(items_[i])) continue;
      if (i < num_sorted_) sorted = kept + 1;
      items_[kept++] = items_[i];
    }
    items_.resize(kept);
    num_sorted_ = sorted;
  }

  float max_logit() const;  // of a list that is not empty
  // Softmax over the list as it is: the probabilities sum to 1.
  void compute_probabilities();
  // Chooses by the logits' softmax, with one draw. The list must not be empty. Returns the index.
  std::size_t draw(Random& random);

 private:
  std::vector<Candidate> items_;
  std::size_t num_sorted_ = 0;
};

}  // namespace tandem
