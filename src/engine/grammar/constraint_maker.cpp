#include "engine/grammar/constraint_maker.h"

#include "engine/grammar/grammar_constraint.h"

namespace tandem {

std::shared_ptr<const TokenTrie> ConstraintMaker::trie(bool with_control) const {
  const std::lock_guard lock(mutex_);
  auto& trie = tries_[with_control ? 1 : 0];
  if (!trie) trie = std::make_shared<const TokenTrie>(TokenTrie::of(*tokenizer_, with_control));
  return trie;
}

ConstraintMaker::Factory ConstraintMaker::factory_for(Grammar grammar, bool with_control) const {
  auto shared = std::make_shared<const Grammar>(std::move(grammar));
  return [shared = std::move(shared), trie = trie(with_control), tokenizer = tokenizer_] {
    return std::make_unique<GrammarConstraint>(shared, trie, tokenizer);
  };
}

}  // namespace tandem
