#pragma once

#include <memory>
#include <span>

#include "base/result.h"
#include "engine/grammar/grammar_matcher.h"
#include "engine/token_sampler.h"
#include "text/tokenizer.h"

namespace tandem {

// Holds one answer to a grammar. Where the grammar cannot go on (its end is reached, a limit was
// exceeded, or the vocabulary has no token that fits), only end-of-generation tokens are left; a
// vocabulary without any is left unmasked then.
class GrammarConstraint : public TokenConstraint {
 public:
  // `trie` is that of `vocabulary`, made once per model; all are kept.
  GrammarConstraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie,
                    std::shared_ptr<const Tokenizer> tokenizer);

  // logits: [vocabulary_size], or more where the model's matrix is padded: the rest is forbidden.
  void mask(std::span<float> logits) override;
  void accept(std::int32_t token) override;

  // Whether the answer so far is complete.
  bool may_end() const { return matcher_.may_end(); }
  // An error where the grammar was too ambiguous to follow, or where the model had no way on.
  const Status& status() const { return status_; }

 private:
  GrammarMatcher matcher_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Status status_;
};

}  // namespace tandem
