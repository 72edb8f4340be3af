#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/grammar/grammar_expr.h"

namespace tandem {

// A context-free grammar over bytes, ready to be matched. Immutable, safe to share.
//
// Every alternative of every rule is a run of elements that ends with kEnd; a position in the
// grammar is the index of an element. Classes of characters have become ranges of UTF-8 bytes, so
// that a token may end inside a character.
class Grammar {
 public:
  struct Element {
    enum class Kind : std::uint8_t { kBytes, kRule, kEnd };
    Kind kind = Kind::kEnd;
    std::uint8_t first_byte = 0;  // kBytes: first_byte to last_byte
    std::uint8_t last_byte = 0;
    std::int32_t rule = 0;  // kRule
  };

  const Element& element(std::int32_t position) const {
    return elements_[static_cast<std::size_t>(position)];
  }
  // Where the alternatives of `rule` start.
  const std::vector<std::int32_t>& alternatives(std::int32_t rule) const {
    return rules_[static_cast<std::size_t>(rule)];
  }
  std::int32_t root() const { return root_; }
  std::size_t num_elements() const { return elements_.size(); }

 private:
  friend class GrammarBuilder;

  std::vector<Element> elements_;
  std::vector<std::vector<std::int32_t>> rules_;
  std::int32_t root_ = 0;
};

// Puts a grammar together from expressions.
class GrammarBuilder {
 public:
  // `max_elements` bounds the memory: some 8 bytes each.
  explicit GrammarBuilder(std::size_t max_elements = 1'000'000) : max_elements_(max_elements) {}

  // A rule that may be referred to before it is defined. The name is for messages.
  std::int32_t declare(std::string name);
  // Errors: the grammar has become too large (a repetition of many).
  Status define(std::int32_t rule, const GrammarExpr& expr);

  // Errors (kInvalidArgument): a rule without a definition; one that refers to itself before it
  // has read anything (left recursion), with its name.
  Result<Grammar> build(std::int32_t root) &&;

 private:
  using Elements = std::vector<Grammar::Element>;

  Status append(const GrammarExpr& expr, Elements& out);
  Status append_class(const CodePointRanges& ranges, Elements& out);
  Status append_repeat(const GrammarExpr& expr, Elements& out);
  Status add_alternative(std::int32_t rule, const Elements& elements);
  std::int32_t declare_anonymous();
  Status check_size(std::size_t more) const;
  Status check_left_recursion() const;
  std::vector<bool> nullable_rules() const;

  std::size_t max_elements_;
  Grammar grammar_;
  std::vector<std::string> names_;
};

}  // namespace tandem
