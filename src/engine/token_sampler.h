#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "device/logit_picker.h"
#include "engine/sampling_params.h"
#include "nn/token_candidates.h"

namespace tandem {

struct TokenLogprob {
  std::int32_t token = 0;
  float logprob = 0;  // natural, of the softmax of the model's logits before any sampler
};

struct SampledToken {
  std::int32_t token = 0;
  float logprob = 0;                    // 0 unless SamplingParams::num_logprobs >= 0
  std::vector<TokenLogprob> likeliest;  // num_logprobs of them, best first
};

// Chooses one sequence's tokens and remembers what penalties, DRY, mirostat and the random
// generator need. Used by one thread at a time.
class TokenSampler {
 public:
  virtual ~TokenSampler() = default;
  // Chooses the next token. logits: [vocabulary_size], overwritten. Does not accept the token.
  virtual SampledToken sample(std::span<float> logits) = 0;
  // How many of the best logits suffice for the same choice, for this sampler's whole life, once
  // add_changes() is obeyed; 0: only all of them do.
  virtual std::int32_t num_candidates() const { return 0; }
  // Does sample_best() want the row's log_sum?
  virtual bool wants_log_sum() const { return false; }
  // Appends what is to be done to the logits of output row `row` before the best are picked: those
  // of the token that follows on the history and `ahead`, guesses of what comes.
  virtual void add_changes(std::span<const std::int32_t> ahead, std::int32_t row,
                           std::vector<LogitChange>& changes) {
    (void)ahead, (void)row, (void)changes;
  }
  // sample() where only the best are at hand: num_candidates() of them, or all there are; best
  // first, ties to the lower token. log_sum: the logarithm of the sum of exp(logit) over all.
  virtual SampledToken sample_best(std::span<const TokenLogit> best, double log_sum);
  // Appends to the history: each token of the prompt, in order, then each token of the answer.
  virtual void accept(std::int32_t token) = 0;
};

// What an answer may be: a grammar, or a JSON schema made into one. Used by one thread at a time.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Sets the logits of all tokens that may not come next to -infinity. Leaves at least one finite;
  // end-of-generation tokens are allowed exactly where the answer may end.
  virtual void mask(std::span<float> logits) = 0;
  // Takes a token of the answer (never of the prompt) that mask() had allowed.
  virtual void accept(std::int32_t token) = 0;
};

using SamplerFactory = std::function<std::unique_ptr<TokenSampler>(const SamplingParams&)>;

}  // namespace tandem
