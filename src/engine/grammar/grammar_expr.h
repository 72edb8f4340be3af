#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace tandem {

// Inclusive ranges of code points.
using CodePointRanges = std::vector<std::pair<char32_t, char32_t>>;

// The right side of a rule, as GBNF and JSON schemas are read into it.
struct GrammarExpr {
  enum class Kind { kText, kClass, kRule, kSequence, kChoice, kRepeat };
  static constexpr std::int32_t kUnbounded = std::numeric_limits<std::int32_t>::max();

  Kind kind = Kind::kText;
  std::string text;                // kText: bytes; empty matches nothing read
  CodePointRanges ranges;          // kClass
  std::int32_t rule = 0;           // kRule
  std::vector<GrammarExpr> parts;  // kSequence, kChoice; the one repeated
  std::int32_t min_count = 0;      // kRepeat
  std::int32_t max_count = 0;
};

GrammarExpr text_expr(std::string text);
GrammarExpr class_expr(CodePointRanges ranges);
// All code points but those of `ranges`, surrogates never.
GrammarExpr not_class_expr(const CodePointRanges& ranges);
GrammarExpr rule_expr(std::int32_t rule);
GrammarExpr sequence_expr(std::vector<GrammarExpr> parts);
GrammarExpr choice_expr(std::vector<GrammarExpr> parts);
GrammarExpr repeat_expr(GrammarExpr part, std::int32_t min_count,
                        std::int32_t max_count = GrammarExpr::kUnbounded);
inline GrammarExpr optional_expr(GrammarExpr part) {
  return repeat_expr(std::move(part), 0, 1);
}

// Sorted, without overlaps; and what is left of all code points without surrogates.
CodePointRanges normalised(CodePointRanges ranges);
CodePointRanges complement_of(const CodePointRanges& ranges);

}  // namespace tandem
