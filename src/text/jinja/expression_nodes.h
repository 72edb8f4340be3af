#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

// For expression_parser.cpp and postfix_parser.cpp: nodes that know how deep they are, so that what
// walks the tree may recurse.
namespace tandem::jinja {

inline constexpr int kMaxExpressionDepth = 200;

inline int depth_of(const ExprPtr& expr) {
  return expr ? expr->depth : 0;
}

inline int depth_of(const std::vector<ExprPtr>& all) {
  int depth = 0;
  for (const auto& expr : all) depth = std::max(depth, depth_of(expr));
  return depth;
}

inline int depth_of(const CallArguments& arguments) {
  int depth = std::max(
      {depth_of(arguments.positional), depth_of(arguments.star), depth_of(arguments.double_star)});
  for (const auto& [name, expr] : arguments.named) depth = std::max(depth, depth_of(expr));
  return depth;
}

inline Error too_deep(int line) {
  return syntax_error(line, "expression is nested too deeply");
}

// A node over children of which the deepest is `children_depth` levels deep.
template <typename Form>
Result<ExprPtr> make(int line, int children_depth, Form form) {
  if (children_depth >= kMaxExpressionDepth) return too_deep(line);
  return std::make_unique<Expr>(Expr{line, children_depth + 1, std::move(form)});
}

}  // namespace tandem::jinja
