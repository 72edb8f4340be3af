#include "engine/grammar/grammar_expr.h"

#include <algorithm>

namespace tandem {
namespace {

constexpr char32_t kLastCodePoint = 0x10FFFF;

}  // namespace

GrammarExpr text_expr(std::string text) {
  GrammarExpr expr;
  expr.text = std::move(text);
  return expr;
}

GrammarExpr class_expr(CodePointRanges ranges) {
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kClass;
  expr.ranges = normalised(std::move(ranges));
  return expr;
}

GrammarExpr not_class_expr(const CodePointRanges& ranges) {
  return class_expr(complement_of(ranges));
}

GrammarExpr rule_expr(std::int32_t rule) {
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kRule;
  expr.rule = rule;
  return expr;
}

GrammarExpr sequence_expr(std::vector<GrammarExpr> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kSequence;
  expr.parts = std::move(parts);
  return expr;
}

GrammarExpr choice_expr(std::vector<GrammarExpr> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kChoice;
  expr.parts = std::move(parts);
  return expr;
}

GrammarExpr repeat_expr(GrammarExpr part, std::int32_t min_count, std::int32_t max_count) {
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kRepeat;
  expr.parts.push_back(std::move(part));
  expr.min_count = min_count;
  expr.max_count = max_count;
  return expr;
}

CodePointRanges normalised(CodePointRanges ranges) {
  std::sort(ranges.begin(), ranges.end());
  CodePointRanges merged;
  for (const auto& [first, last] : ranges) {
    if (first > last) continue;
    if (!merged.empty() && first <= merged.back().second + 1) {
      merged.back().second = std::max(merged.back().second, last);
    } else {
      merged.emplace_back(first, last);
    }
  }
  return merged;
}

CodePointRanges complement_of(const CodePointRanges& ranges) {
  CodePointRanges excluded = ranges;
  excluded.emplace_back(0xD800, 0xDFFF);  // UTF-8 has no surrogates
  CodePointRanges rest;
  char32_t next = 0;
  for (const auto& [first, last] : normalised(std::move(excluded))) {
    if (first > next) rest.emplace_back(next, first - 1);
    next = last + 1;
  }
  if (next <= kLastCodePoint) rest.emplace_back(next, kLastCodePoint);
  return rest;
}

}  // namespace tandem
