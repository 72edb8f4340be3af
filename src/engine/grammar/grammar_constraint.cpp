#include "engine/grammar/grammar_constraint.h"

#include <algorithm>
#include <limits>

namespace tandem {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Forbids what has no bit.
void apply_bits(const std::vector<std::uint64_t>& bits, std::span<float> logits) {
  for (std::size_t word = 0; word * 64 < logits.size(); ++word) {
    const std::uint64_t allowed = word < bits.size() ? bits[word] : 0;
    if (allowed == ~std::uint64_t{0}) continue;
    const std::size_t end = std::min(logits.size(), word * 64 + 64);
    for (std::size_t i = word * 64; i < end; ++i) {
      if (((allowed >> (i % 64)) & 1) == 0) logits[i] = kForbidden;
    }
  }
}

}  // namespace

GrammarConstraint::GrammarConstraint(std::shared_ptr<const Grammar> grammar,
                                     std::shared_ptr<const TokenTrie> trie,
                                     std::shared_ptr<const Tokenizer> tokenizer)
    : matcher_(std::move(grammar), std::move(trie)), tokenizer_(std::move(tokenizer)) {}

void GrammarConstraint::mask(std::span<float> logits) {
  const auto& ends = tokenizer_->vocabulary().end_of_generation();
  std::vector<float> end_logits;
  for (const std::int32_t token : ends) {
    const auto index = static_cast<std::size_t>(token);
    end_logits.push_back(index < logits.size() ? logits[index] : kForbidden);
  }
  const auto& bits = matcher_.allowed_tokens();
  const bool any_bit = std::any_of(bits.begin(), bits.end(), [](auto word) { return word != 0; });
  const bool can_end = matcher_.may_end() || !any_bit;
  if (!any_bit && ends.empty()) return;
  if (!any_bit && !matcher_.may_end() && status_.ok()) {
    status_ = invalid_argument(matcher_.failed() ? "the grammar is too ambiguous to follow"
                                                 : "no token of the model fits the grammar here");
  }
  apply_bits(bits, logits);
  for (std::size_t i = 0; i < ends.size() && can_end; ++i) {
    const auto index = static_cast<std::size_t>(ends[i]);
    // An end must stay possible where nothing else is, whatever a bias made of it.
    if (index < logits.size())
      logits[index] = any_bit || end_logits[i] > kForbidden ? end_logits[i] : 0.0f;
  }
}

void GrammarConstraint::accept(std::int32_t token) {
  if (tokenizer_->vocabulary().is_end_of_generation(token)) return;
  if (!matcher_.accept(token) && status_.ok()) {
    status_ = invalid_argument("a token was taken that the grammar does not allow");
  }
}

}  // namespace tandem
