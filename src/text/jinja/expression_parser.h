#pragma once

#include <string>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/token_stream.h"

namespace tandem::jinja {

// The expression half of the grammar (jinja2/parser.py, parse_expression and below).
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  // a if b else c, and all below.
  Result<ExprPtr> parse_expression();
  // The same without `if`: what `for` and `if` statements take.
  Result<ExprPtr> parse_or();
  // One or more expressions parted by commas: more, or a trailing comma, make a tuple.
  Result<ExprPtr> parse_tuple(bool with_condition = true);
  // |filter|filter ... applied to `value`, which is null for a block. `inline_start`: the first
  // has no bar.
  Result<ExprPtr> parse_filters(ExprPtr value, bool inline_start);

  // How often `varargs`, `kwargs` and `caller` have been named so far: macros ask whether their
  // body does.
  struct SpecialNames {
    int varargs = 0;
    int kwargs = 0;
    int caller = 0;
  };
  const SpecialNames& special_names() const { return special_names_; }

 private:
  Result<ExprPtr> parse_and();
  Result<ExprPtr> parse_not();
  Result<ExprPtr> parse_compare();
  Result<ExprPtr> parse_sum();
  Result<ExprPtr> parse_concat();
  Result<ExprPtr> parse_product();
  Result<ExprPtr> parse_power();
  Result<ExprPtr> parse_unary(bool with_filters);
  Result<ExprPtr> parse_primary();
  Result<ExprPtr> parse_name();
  Result<ExprPtr> parse_list();
  Result<ExprPtr> parse_dict();
  Result<ExprPtr> parse_postfix(ExprPtr value);
  Result<ExprPtr> parse_dot(ExprPtr value);
  Result<ExprPtr> parse_subscript(ExprPtr value);
  Result<ExprPtr> parse_call(ExprPtr callee);
  Result<ExprPtr> parse_filters_and_tests(ExprPtr value);
  Result<ExprPtr> parse_filter(ExprPtr value);
  Result<ExprPtr> parse_test(ExprPtr value);
  Result<CallArguments> parse_arguments();
  bool starts_test_argument() const;

  TokenStream& tokens_;
  int depth_ = 0;
  SpecialNames special_names_;
};

}  // namespace tandem::jinja
