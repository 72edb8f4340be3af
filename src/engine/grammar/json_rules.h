#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/grammar/grammar.h"

namespace tandem {

// The rules of JSON itself (RFC 8259), each added to the grammar when first asked for.
class JsonRules {
 public:
  explicit JsonRules(GrammarBuilder& builder) : builder_(builder) {}

  Result<GrammarExpr> value();
  Result<GrammarExpr> object();  // any members
  Result<GrammarExpr> array();   // any elements
  Result<GrammarExpr> string();
  Result<GrammarExpr> string_character();  // one, escaped where it must be
  Result<GrammarExpr> number();            // at most 16 digits, fits in a double
  Result<GrammarExpr> integer();
  // At most a line break and 20 blanks: a model must not fill its answer with white space.
  Result<GrammarExpr> space();

  // `rule name ::= expr`, referred to.
  Result<GrammarExpr> add(std::string name, const GrammarExpr& expr);

 private:
  std::int32_t declared(std::optional<std::int32_t>& rule, const char* name, bool& is_new);

  GrammarBuilder& builder_;
  std::optional<std::int32_t> value_, object_, array_, string_, character_, number_, integer_,
      space_;
};

// first separator second ... : expressions with `separator` between them.
GrammarExpr joined_exprs(std::vector<GrammarExpr> parts, const GrammarExpr& separator);

// Integers from `low` to `high`, either of which may be missing, in decimal without leading zeros.
// Nullopt where there is none. Unbounded ones have up to 16 digits, or as many as the bound.
std::optional<GrammarExpr> integer_range_expr(std::optional<std::int64_t> low,
                                              std::optional<std::int64_t> high);

// Decimal numbers from `low` to `high`: whole bounds, each excluded where asked.
std::optional<GrammarExpr> number_range_expr(std::optional<std::int64_t> low, bool low_excluded,
                                             std::optional<std::int64_t> high, bool high_excluded);

}  // namespace tandem
