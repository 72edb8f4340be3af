#include "text/jinja/expression_parser.h"

#include <algorithm>

#include "text/jinja/expression_nodes.h"

namespace tandem::jinja {
namespace {

// Counts the parser's own recursion.
class DepthGuard {
 public:
  explicit DepthGuard(int& depth) : depth_(depth) { ++depth_; }
  ~DepthGuard() { --depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;
  bool exceeded() const { return depth_ > kMaxExpressionDepth; }

 private:
  int& depth_;
};

std::optional<CompareOp> compare_operator(const Token& token) {
  static constexpr std::pair<std::string_view, CompareOp> kTable[] = {
      {"==", CompareOp::kEqual},  {"!=", CompareOp::kNotEqual},
      {"<", CompareOp::kLess},    {"<=", CompareOp::kLessEqual},
      {">", CompareOp::kGreater}, {">=", CompareOp::kGreaterEqual}};
  for (const auto& [text, op] : kTable) {
    if (token.is(TokenKind::kOperator, text)) return op;
  }
  return std::nullopt;
}

}  // namespace

Result<ExprPtr> ExpressionParser::parse_expression() {
  const DepthGuard guard(depth_);
  if (guard.exceeded()) return too_deep(tokens_.line());
  const int line = tokens_.line();
  TANDEM_TRY(ExprPtr value, parse_or());
  while (tokens_.skip_name("if")) {
    TANDEM_TRY(ExprPtr condition, parse_or());
    ExprPtr otherwise;
    if (tokens_.skip_name("else")) {
      TANDEM_TRY(otherwise, parse_expression());
    }
    const int depth = std::max({depth_of(value), depth_of(condition), depth_of(otherwise)});
    TANDEM_TRY(value,
               make(line, depth,
                    Conditional{std::move(condition), std::move(value), std::move(otherwise)}));
  }
  return value;
}

Result<ExprPtr> ExpressionParser::parse_tuple(bool with_condition) {
  const int line = tokens_.line();
  const auto at_tuple_end = [this] {
    return tokens_.at(TokenKind::kVariableEnd) || tokens_.at(TokenKind::kBlockEnd) ||
           tokens_.at_operator(")");
  };
  TANDEM_TRY(ExprPtr first, with_condition ? parse_expression() : parse_or());
  if (!tokens_.at_operator(",")) return first;
  std::vector<ExprPtr> items;
  items.push_back(std::move(first));
  while (tokens_.skip_operator(",") && !at_tuple_end()) {
    TANDEM_TRY(ExprPtr item, with_condition ? parse_expression() : parse_or());
    items.push_back(std::move(item));
  }
  const int depth = depth_of(items);
  return make(line, depth, SequenceLiteral{SequenceKind::kTuple, std::move(items)});
}

Result<ExprPtr> ExpressionParser::parse_or() {
  const int line = tokens_.line();
  TANDEM_TRY(ExprPtr left, parse_and());
  while (tokens_.skip_name("or")) {
    TANDEM_TRY(ExprPtr right, parse_and());
    const int depth = std::max(depth_of(left), depth_of(right));
    TANDEM_TRY(left, make(line, depth, Binary{BinaryOp::kOr, std::move(left), std::move(right)}));
  }
  return left;
}

Result<ExprPtr> ExpressionParser::parse_and() {
  const int line = tokens_.line();
  TANDEM_TRY(ExprPtr left, parse_not());
  while (tokens_.skip_name("and")) {
    TANDEM_TRY(ExprPtr right, parse_not());
    const int depth = std::max(depth_of(left), depth_of(right));
    TANDEM_TRY(left, make(line, depth, Binary{BinaryOp::kAnd, std::move(left), std::move(right)}));
  }
  return left;
}

Result<ExprPtr> ExpressionParser::parse_not() {
  if (!tokens_.at_name("not")) return parse_compare();
  const DepthGuard guard(depth_);
  const int line = tokens_.take().line;
  if (guard.exceeded()) return too_deep(line);
  TANDEM_TRY(ExprPtr operand, parse_not());
  const int depth = depth_of(operand);
  return make(line, depth, Unary{UnaryOp::kNot, std::move(operand)});
}

Result<ExprPtr> ExpressionParser::parse_compare() {
  const int line = tokens_.line();
  TANDEM_TRY(ExprPtr first, parse_sum());
  Compare compare;
  int depth = depth_of(first);
  while (true) {
    auto op = compare_operator(tokens_.peek());
    if (op || tokens_.at_name("in")) {
      tokens_.take();
      op = op.value_or(CompareOp::kIn);
    } else if (tokens_.at_name("not") && tokens_.peek(1).is(TokenKind::kName, "in")) {
      tokens_.take();
      tokens_.take();
      op = CompareOp::kNotIn;
    } else {
      break;
    }
    TANDEM_TRY(ExprPtr right, parse_sum());
    depth = std::max(depth, depth_of(right));
    compare.rest.emplace_back(*op, std::move(right));
  }
  if (compare.rest.empty()) return first;
  compare.first = std::move(first);
  return make(line, depth, std::move(compare));
}

Result<ExprPtr> ExpressionParser::parse_sum() {
  const int line = tokens_.line();
  TANDEM_TRY(ExprPtr left, parse_concat());
  while (tokens_.at_operator("+") || tokens_.at_operator("-")) {
    const auto op = tokens_.take().text == "+" ? BinaryOp::kAdd : BinaryOp::kSubtract;
    TANDEM_TRY(ExprPtr right, parse_concat());
    const int depth = std::max(depth_of(left), depth_of(right));
    TANDEM_TRY(left, make(line, depth, Binary{op, std::move(left), std::move(right)}));
  }
  return left;
}

Result<ExprPtr> ExpressionParser::parse_concat() {
  const int line = tokens_.line();
  std::vector<ExprPtr> parts;
  do {
    TANDEM_TRY(ExprPtr part, parse_product());
    parts.push_back(std::move(part));
  } while (tokens_.skip_operator("~"));
  if (parts.size() == 1) return std::move(parts.front());
  const int depth = depth_of(parts);
  return make(line, depth, Concat{std::move(parts)});
}

Result<ExprPtr> ExpressionParser::parse_product() {
  static constexpr std::pair<std::string_view, BinaryOp> kTable[] = {{"*", BinaryOp::kMultiply},
                                                                     {"/", BinaryOp::kDivide},
                                                                     {"//", BinaryOp::kFloorDivide},
                                                                     {"%", BinaryOp::kModulo}};
  const int line = tokens_.line();
  TANDEM_TRY(ExprPtr left, parse_power());
  while (true) {
    const auto found = std::find_if(std::begin(kTable), std::end(kTable), [this](const auto& row) {
      return tokens_.at_operator(row.first);
    });
    if (found == std::end(kTable)) return left;
    tokens_.take();
    TANDEM_TRY(ExprPtr right, parse_power());
    const int depth = std::max(depth_of(left), depth_of(right));
    TANDEM_TRY(left, make(line, depth, Binary{found->second, std::move(left), std::move(right)}));
  }
}

Result<ExprPtr> ExpressionParser::parse_power() {
  const int line = tokens_.line();
  TANDEM_TRY(ExprPtr left, parse_unary(true));
  while (tokens_.skip_operator("**")) {  // from the left, unlike Python
    TANDEM_TRY(ExprPtr right, parse_unary(true));
    const int depth = std::max(depth_of(left), depth_of(right));
    TANDEM_TRY(left,
               make(line, depth, Binary{BinaryOp::kPower, std::move(left), std::move(right)}));
  }
  return left;
}

Result<ExprPtr> ExpressionParser::parse_unary(bool with_filters) {
  const DepthGuard guard(depth_);
  const int line = tokens_.line();
  if (guard.exceeded()) return too_deep(line);
  ExprPtr value;
  if (tokens_.at_operator("-") || tokens_.at_operator("+")) {
    const auto op = tokens_.take().text == "-" ? UnaryOp::kNegate : UnaryOp::kPlus;
    TANDEM_TRY(ExprPtr operand, parse_unary(false));
    const int depth = depth_of(operand);
    TANDEM_TRY(value, make(line, depth, Unary{op, std::move(operand)}));
  } else {
    TANDEM_TRY(value, parse_primary());
  }
  TANDEM_TRY(value, parse_postfix(std::move(value)));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

Result<ExprPtr> ExpressionParser::parse_primary() {
  const int line = tokens_.line();
  const Token& token = tokens_.peek();
  switch (token.kind) {
    case TokenKind::kName:
      return parse_name();
    case TokenKind::kInteger:
      return make(line, 0, Constant{Value(tokens_.take().integer)});
    case TokenKind::kFloat:
      return make(line, 0, Constant{Value(tokens_.take().number)});
    case TokenKind::kString: {
      std::string text;
      while (tokens_.at(TokenKind::kString)) text += tokens_.take().text;
      return make(line, 0, Constant{make_text(std::move(text))});
    }
    default:
      break;
  }
  if (tokens_.at_operator("[")) return parse_list();
  if (tokens_.at_operator("{")) return parse_dict();
  if (!tokens_.skip_operator("(")) return tokens_.unexpected("an expression");
  if (tokens_.skip_operator(")")) return make(line, 0, SequenceLiteral{SequenceKind::kTuple, {}});
  TANDEM_TRY(ExprPtr value, parse_tuple());
  TANDEM_TRY_STATUS(tokens_.expect_operator(")"));
  return value;
}

Result<ExprPtr> ExpressionParser::parse_name() {
  const int line = tokens_.line();
  std::string name = tokens_.take().text;
  if (name == "true" || name == "True") return make(line, 0, Constant{Value(true)});
  if (name == "false" || name == "False") return make(line, 0, Constant{Value(false)});
  if (name == "none" || name == "None") return make(line, 0, Constant{Value(None{})});
  special_names_.varargs += name == "varargs";
  special_names_.kwargs += name == "kwargs";
  special_names_.caller += name == "caller";
  return make(line, 0, Name{std::move(name)});
}

Result<ExprPtr> ExpressionParser::parse_list() {
  const int line = tokens_.take().line;
  std::vector<ExprPtr> items;
  while (!tokens_.at_operator("]")) {
    if (!items.empty()) TANDEM_TRY_STATUS(tokens_.expect_operator(","));
    if (tokens_.at_operator("]")) break;
    TANDEM_TRY(ExprPtr item, parse_expression());
    items.push_back(std::move(item));
  }
  TANDEM_TRY_STATUS(tokens_.expect_operator("]"));
  const int depth = depth_of(items);
  return make(line, depth, SequenceLiteral{SequenceKind::kList, std::move(items)});
}

Result<ExprPtr> ExpressionParser::parse_dict() {
  const int line = tokens_.take().line;
  DictLiteral dict;
  int depth = 0;
  while (!tokens_.at_operator("}")) {
    if (!dict.entries.empty()) TANDEM_TRY_STATUS(tokens_.expect_operator(","));
    if (tokens_.at_operator("}")) break;
    TANDEM_TRY(ExprPtr key, parse_expression());
    TANDEM_TRY_STATUS(tokens_.expect_operator(":"));
    TANDEM_TRY(ExprPtr value, parse_expression());
    depth = std::max({depth, depth_of(key), depth_of(value)});
    dict.entries.emplace_back(std::move(key), std::move(value));
  }
  TANDEM_TRY_STATUS(tokens_.expect_operator("}"));
  return make(line, depth, std::move(dict));
}

}  // namespace tandem::jinja
