#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "base/result.h"
#include "engine/grammar/grammar.h"
#include "engine/grammar/token_trie.h"
#include "engine/token_sampler.h"

namespace tandem {

class Tokenizer;

// Makes of a grammar what GenerationRequest::make_constraint wants. One per model: the tries of its
// vocabulary are made when first needed (some 50 ms for 128k tokens) and shared. Safe to share.
class ConstraintMaker {
 public:
  explicit ConstraintMaker(std::shared_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}

  using Factory = std::function<std::unique_ptr<TokenConstraint>()>;
  // with_control: control tokens stand for their text, as calls of tools need it; the answer's text
  // must then be rendered with them.
  Factory factory_for(Grammar grammar, bool with_control = false) const;

 private:
  std::shared_ptr<const TokenTrie> trie(bool with_control) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const TokenTrie> tries_[2];  // without and with control tokens
};

}  // namespace tandem
