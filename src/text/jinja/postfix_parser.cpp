// What follows a value in an expression: attributes, items, calls, filters and tests.
#include <algorithm>

#include "text/jinja/expression_nodes.h"
#include "text/jinja/expression_parser.h"

namespace tandem::jinja {

Result<ExprPtr> ExpressionParser::parse_postfix(ExprPtr value) {
  while (true) {
    if (tokens_.at_operator(".")) {
      TANDEM_TRY(value, parse_dot(std::move(value)));
    } else if (tokens_.at_operator("[")) {
      TANDEM_TRY(value, parse_subscript(std::move(value)));
    } else if (tokens_.at_operator("(")) {
      TANDEM_TRY(value, parse_call(std::move(value)));
    } else {
      return value;
    }
  }
}

Result<ExprPtr> ExpressionParser::parse_dot(ExprPtr value) {
  const int line = tokens_.take().line;
  const int depth = depth_of(value);
  if (tokens_.at(TokenKind::kInteger)) {
    TANDEM_TRY(ExprPtr key, make(line, 0, Constant{Value(tokens_.take().integer)}));
    return make(line, depth, Item{std::move(value), std::move(key)});
  }
  TANDEM_TRY(std::string name, tokens_.expect_name());
  return make(line, depth, Attribute{std::move(value), std::move(name)});
}

Result<ExprPtr> ExpressionParser::parse_subscript(ExprPtr value) {
  const int line = tokens_.take().line;
  Slice slice;
  ExprPtr* const parts[] = {&slice.start, &slice.stop, &slice.step};
  int num_colons = 0;
  while (!tokens_.at_operator("]")) {
    if (tokens_.at_operator(":") && num_colons < 2) {
      tokens_.take();
      ++num_colons;
    } else if (!*parts[num_colons]) {
      // Commas make a key that is a tuple.
      TANDEM_TRY(*parts[num_colons], num_colons == 0 ? parse_tuple() : parse_expression());
    } else {
      return tokens_.unexpected("']'");
    }
  }
  tokens_.take();
  if (num_colons == 0 && !slice.start) return syntax_error(line, "expected subscript expression");
  const int depth = std::max(
      {depth_of(value), depth_of(slice.start), depth_of(slice.stop), depth_of(slice.step)});
  if (num_colons == 0) return make(line, depth, Item{std::move(value), std::move(slice.start)});
  slice.value = std::move(value);
  return make(line, depth, std::move(slice));
}

Result<ExprPtr> ExpressionParser::parse_call(ExprPtr callee) {
  const int line = tokens_.line();
  TANDEM_TRY(CallArguments arguments, parse_arguments());
  const int depth = std::max(depth_of(callee), depth_of(arguments));
  return make(line, depth, Call{std::move(callee), std::move(arguments)});
}

Result<CallArguments> ExpressionParser::parse_arguments() {
  TANDEM_TRY_STATUS(tokens_.expect_operator("("));
  CallArguments arguments;
  bool first = true;
  while (!tokens_.at_operator(")")) {
    if (!first) TANDEM_TRY_STATUS(tokens_.expect_operator(","));
    first = false;
    if (tokens_.at_operator(")")) break;
    const int line = tokens_.line();
    if (tokens_.skip_operator("**")) {
      if (arguments.double_star) return syntax_error(line, "invalid syntax for function call");
      TANDEM_TRY(arguments.double_star, parse_expression());
    } else if (tokens_.skip_operator("*")) {
      if (arguments.star) return syntax_error(line, "invalid syntax for function call");
      TANDEM_TRY(arguments.star, parse_expression());
    } else if (tokens_.at(TokenKind::kName) && tokens_.peek(1).is(TokenKind::kOperator, "=")) {
      std::string name = tokens_.take().text;
      tokens_.take();
      TANDEM_TRY(ExprPtr value, parse_expression());
      arguments.named.emplace_back(std::move(name), std::move(value));
    } else {
      if (!arguments.named.empty() || arguments.star || arguments.double_star) {
        return syntax_error(line, "positional argument after a named one");
      }
      TANDEM_TRY(ExprPtr value, parse_expression());
      arguments.positional.push_back(std::move(value));
    }
  }
  TANDEM_TRY_STATUS(tokens_.expect_operator(")"));
  return arguments;
}

Result<ExprPtr> ExpressionParser::parse_filters_and_tests(ExprPtr value) {
  while (true) {
    if (tokens_.skip_operator("|")) {
      TANDEM_TRY(value, parse_filter(std::move(value)));
    } else if (tokens_.skip_name("is")) {
      TANDEM_TRY(value, parse_test(std::move(value)));
    } else if (tokens_.at_operator("(")) {
      TANDEM_TRY(value, parse_call(std::move(value)));
    } else {
      return value;
    }
  }
}

Result<ExprPtr> ExpressionParser::parse_filters(ExprPtr value, bool inline_start) {
  while (inline_start || tokens_.skip_operator("|")) {
    inline_start = false;
    TANDEM_TRY(value, parse_filter(std::move(value)));
  }
  return value;
}

Result<ExprPtr> ExpressionParser::parse_filter(ExprPtr value) {
  const int line = tokens_.line();
  Filter filter;
  TANDEM_TRY(filter.name, tokens_.expect_name());
  if (tokens_.at_operator("(")) {
    TANDEM_TRY(filter.arguments, parse_arguments());
  }
  const int depth = std::max(depth_of(value), depth_of(filter.arguments));
  filter.value = std::move(value);
  return make(line, depth, std::move(filter));
}

bool ExpressionParser::starts_test_argument() const {
  switch (tokens_.peek().kind) {
    case TokenKind::kName:
      return !tokens_.at_name("else") && !tokens_.at_name("or") && !tokens_.at_name("and");
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    default:
      return tokens_.at_operator("[") || tokens_.at_operator("{");
  }
}

Result<ExprPtr> ExpressionParser::parse_test(ExprPtr value) {
  const int line = tokens_.line();
  TestExpr test;
  test.negated = tokens_.skip_name("not");
  TANDEM_TRY(test.name, tokens_.expect_name());
  if (tokens_.at_operator("(")) {
    TANDEM_TRY(test.arguments, parse_arguments());
  } else if (tokens_.at_name("is")) {
    return syntax_error(line, "tests cannot be chained with 'is'");
  } else if (starts_test_argument()) {
    TANDEM_TRY(ExprPtr argument, parse_primary());
    TANDEM_TRY(argument, parse_postfix(std::move(argument)));
    test.arguments.positional.push_back(std::move(argument));
  }
  const int depth = std::max(depth_of(value), depth_of(test.arguments));
  test.value = std::move(value);
  return make(line, depth, std::move(test));
}

}  // namespace tandem::jinja
