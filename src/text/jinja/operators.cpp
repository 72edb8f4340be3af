#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja/py_string.h"

namespace tandem::jinja {
namespace {

std::string quoted_type(const Value& value) {
  return "'" + std::string(type_name(value)) + "'";
}

Error bad_operands(std::string_view op, const Value& left, const Value& right) {
  return render_error("unsupported operand types for " + std::string(op) + ": " +
                      quoted_type(left) + " and " + quoted_type(right));
}

Error overflow() {
  return render_error("integer overflow");
}

// Like with like: a list with a list, a tuple with a tuple.
bool same_listing(const SequenceData* left, const SequenceData* right) {
  return left && right && left->kind == right->kind &&
         (left->kind == SequenceKind::kList || left->kind == SequenceKind::kTuple);
}

Result<Value> add_strings(Budget& budget, const StringData& left, const StringData& right) {
  // Markup escapes what it meets.
  const bool safe = left.safe || right.safe;
  TANDEM_TRY_STATUS(budget.allocate(sizeof(StringData) + left.text.size() + right.text.size()));
  if (safe && left.safe != right.safe) {
    return make_string(
        budget,
        left.safe ? left.text + escape_html(right.text) : escape_html(left.text) + right.text,
        true);
  }
  return make_text(left.text + right.text, safe);
}

Result<Value> repeat(Budget& budget, const Value& value, Int count) {
  const auto times =
      static_cast<std::size_t>(std::clamp<Int>(count, 0, std::numeric_limits<std::int64_t>::max()));
  if (const auto* text = value.as_string()) {
    TANDEM_TRY_STATUS(budget.allocate(times, text->text.size()));
    std::string result;
    if (!text->text.empty()) {
      result.reserve(times * text->text.size());
      for (std::size_t i = 0; i < times; ++i) result += text->text;
    }
    return make_string(budget, std::move(result), text->safe);
  }
  const auto* sequence = value.as_sequence();
  TANDEM_TRY_STATUS(budget.allocate(times, sequence->items.size() * sizeof(Value)));
  std::vector<Value> items;
  for (std::size_t i = 0; i < times && !sequence->items.empty(); ++i) {
    items.insert(items.end(), sequence->items.begin(), sequence->items.end());
  }
  return make_sequence(budget, std::move(items), sequence->kind);
}

bool repeats(const Value& value) {
  const auto* sequence = value.as_sequence();
  return value.is_string() || same_listing(sequence, sequence);
}

Int floor_divide(Int a, Int b) {
  const Int quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Result<Value> integer_power(Int base, Int exponent) {
  Int result = 1;
  while (exponent > 0) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) return overflow();
    exponent /= 2;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return overflow();
  }
  return Value(result);
}

Result<Value> integer_binary(BinaryOp op, Int a, Int b) {
  Int result = 0;
  bool overflows = false;
  switch (op) {
    case BinaryOp::kAdd:
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOp::kSubtract:
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOp::kMultiply:
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOp::kDivide:
      if (b == 0) return render_error("division by zero");
      return Value(static_cast<double>(a) / static_cast<double>(b));
    case BinaryOp::kFloorDivide:
    case BinaryOp::kModulo:
      if (b == 0) return render_error("division by zero");
      if (b == -1)
        return op == BinaryOp::kModulo ? Value(Int{0}) : integer_binary(BinaryOp::kSubtract, 0, a);
      result = op == BinaryOp::kModulo ? a - floor_divide(a, b) * b : floor_divide(a, b);
      break;
    default:
      if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
      return integer_power(a, b);
  }
  if (overflows) return overflow();
  return Value(result);
}

Result<Value> float_binary(BinaryOp op, double a, double b) {
  const bool divides =
      op == BinaryOp::kDivide || op == BinaryOp::kFloorDivide || op == BinaryOp::kModulo;
  if (divides && b == 0) return render_error("division by zero");
  switch (op) {
    case BinaryOp::kAdd:
      return Value(a + b);
    case BinaryOp::kSubtract:
      return Value(a - b);
    case BinaryOp::kMultiply:
      return Value(a * b);
    case BinaryOp::kDivide:
      return Value(a / b);
    case BinaryOp::kFloorDivide:
      return Value(std::floor(a / b));
    case BinaryOp::kModulo: {
      const double rest = std::fmod(a, b);
      return Value(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
    }
    default:
      return Value(std::pow(a, b));
  }
}

Result<bool> equal_items(Budget& budget, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    TANDEM_TRY(const bool same, equals(budget, a[i], b[i]));
    if (!same) return false;
  }
  return true;
}

Result<bool> equal_dicts(Budget& budget, const DictData& a, const DictData& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    if (const auto* text = key.as_string())
      TANDEM_TRY_STATUS(budget.spend_reading(text->text.size()));
    const Value* other = b.find(key);
    if (!other) return false;
    TANDEM_TRY(const bool same, equals(budget, value, *other));
    if (!same) return false;
  }
  return true;
}

std::string_view symbol_of(BinaryOp op) {
  static constexpr std::string_view kSymbols[] = {"and", "or", "+", "-", "*", "/", "//", "%", "**"};
  return kSymbols[static_cast<int>(op)];
}

}  // namespace

Error undefined_error(const Value& undefined) {
  const auto* data = undefined.get_if<Undefined>();
  return render_error(data && data->why ? *data->why : "a value is undefined");
}

Result<Value> apply_binary(Budget& budget, BinaryOp op, const Value& left, const Value& right) {
  if (left.is_undefined()) return undefined_error(left);
  const auto* left_text = left.as_string();
  if (op == BinaryOp::kModulo && left_text) return format_percent(budget, *left_text, right);
  if (right.is_undefined()) return undefined_error(right);
  const auto a = left.as_int();
  const auto b = right.as_int();
  if (a && b) return integer_binary(op, *a, *b);
  const auto x = left.as_number();
  const auto y = right.as_number();
  if (x && y) return float_binary(op, *x, *y);
  if (op == BinaryOp::kMultiply && repeats(left) && b) return repeat(budget, left, *b);
  if (op == BinaryOp::kMultiply && repeats(right) && a) return repeat(budget, right, *a);
  if (op != BinaryOp::kAdd) return bad_operands(symbol_of(op), left, right);
  if (left_text && right.as_string()) return add_strings(budget, *left_text, *right.as_string());
  const auto* left_items = left.as_sequence();
  const auto* right_items = right.as_sequence();
  if (!same_listing(left_items, right_items)) return bad_operands("+", left, right);
  TANDEM_TRY_STATUS(
      budget.allocate(left_items->items.size() + right_items->items.size(), sizeof(Value)));
  std::vector<Value> items = left_items->items;
  items.insert(items.end(), right_items->items.begin(), right_items->items.end());
  return make_sequence(budget, std::move(items), left_items->kind);
}

Result<Value> apply_unary(UnaryOp op, const Value& operand) {
  if (op == UnaryOp::kNot) return Value(!operand.truthy());
  if (operand.is_undefined()) return undefined_error(operand);
  if (const auto number = operand.as_int()) {
    return op == UnaryOp::kPlus ? Value(*number) : integer_binary(BinaryOp::kSubtract, 0, *number);
  }
  if (const auto number = operand.as_number())
    return Value(op == UnaryOp::kPlus ? *number : -*number);
  return render_error("bad operand type for a sign: " + quoted_type(operand));
}

Result<bool> equals(Budget& budget, const Value& left, const Value& right) {
  TANDEM_TRY_STATUS(budget.spend_steps());
  if (left.is_number() && right.is_number()) {
    const auto a = left.as_int();
    const auto b = right.as_int();
    return a && b ? *a == *b : *left.as_number() == *right.as_number();
  }
  if (left.data().index() != right.data().index()) return false;
  if (left.is_undefined() || left.is_none()) return true;
  if (const auto* text = left.as_string()) {
    TANDEM_TRY_STATUS(budget.spend_reading(text->text.size()));
    return text->text == right.as_string()->text;
  }
  if (const auto* a = left.as_sequence()) {
    const auto* b = right.as_sequence();
    if (a == b) return true;
    return a->kind == b->kind ? equal_items(budget, a->items, b->items) : Result<bool>(false);
  }
  if (const auto* a = left.as_dict()) {
    const auto* b = right.as_dict();
    return a == b ? Result<bool>(true) : equal_dicts(budget, *a, *b);
  }
  return std::visit(
      [&right](const auto& a) -> bool {
        using T = std::remove_cvref_t<decltype(a)>;
        // What is left are pointers, equal where they are the same.
        if constexpr (requires { *a; }) return a == *right.get_if<T>();
        return false;
      },
      left.data());
}

Result<int> order(Budget& budget, const Value& left, const Value& right) {
  TANDEM_TRY_STATUS(budget.spend_steps());
  if (left.is_undefined()) return undefined_error(left);
  if (right.is_undefined()) return undefined_error(right);
  const auto a = left.as_int();
  const auto b = right.as_int();
  if (a && b) return *a < *b ? -1 : *a > *b;
  if (left.is_number() && right.is_number()) {
    const double x = *left.as_number();
    const double y = *right.as_number();
    return x < y ? -1 : x > y;
  }
  if (left.is_string() && right.is_string()) {
    TANDEM_TRY_STATUS(budget.spend_reading(left.as_string()->text.size()));
    // The order of UTF-8 bytes is that of code points.
    return left.as_string()->text.compare(right.as_string()->text);
  }
  const auto* x = left.as_sequence();
  const auto* y = right.as_sequence();
  if (!same_listing(x, y)) {
    return render_error("no order between " + quoted_type(left) + " and " + quoted_type(right));
  }
  for (std::size_t i = 0; i < std::min(x->items.size(), y->items.size()); ++i) {
    TANDEM_TRY(const bool same, equals(budget, x->items[i], y->items[i]));
    if (!same) return order(budget, x->items[i], y->items[i]);
  }
  return x->items.size() < y->items.size() ? -1 : x->items.size() > y->items.size();
}

Result<bool> contains(Budget& budget, const Value& container, const Value& item) {
  if (const auto* text = container.as_string()) {
    const auto* part = item.as_string();
    if (item.is_undefined()) return undefined_error(item);
    if (!part) return render_error("'in <string>' requires a string, not " + quoted_type(item));
    TANDEM_TRY_STATUS(budget.spend_reading(text->text.size() + part->text.size()));
    return find_text(text->text, part->text) != std::string_view::npos;
  }
  if (const auto* dict = container.as_dict()) {
    if (const auto* key = item.as_string())
      TANDEM_TRY_STATUS(budget.spend_reading(key->text.size()));
    if (!hash_key(item)) return render_error("unhashable type: " + quoted_type(item));
    return dict->find(item) != nullptr;
  }
  if (const auto* sequence = container.as_sequence()) {
    for (const Value& element : sequence->items) {
      TANDEM_TRY(const bool same, equals(budget, element, item));
      if (same) return true;
    }
    return false;
  }
  TANDEM_TRY(const auto elements, elements_of(budget, container));
  for (const Value& element : elements) {
    TANDEM_TRY(const bool same, equals(budget, element, item));
    if (same) return true;
  }
  return false;
}

Result<bool> apply_compare(Budget& budget, CompareOp op, const Value& left, const Value& right) {
  switch (op) {
    case CompareOp::kEqual:
      return equals(budget, left, right);
    case CompareOp::kIn:
      return contains(budget, right, left);
    case CompareOp::kNotEqual:
    case CompareOp::kNotIn: {
      TANDEM_TRY(const bool opposite, op == CompareOp::kNotIn ? contains(budget, right, left)
                                                              : equals(budget, left, right));
      return !opposite;
    }
    default:
      break;
  }
  // NaN is not ordered: every comparison with it is false.
  const auto x = left.as_number();
  const auto y = right.as_number();
  if (x && y && (std::isnan(*x) || std::isnan(*y))) return false;
  TANDEM_TRY(const int sign, order(budget, left, right));
  switch (op) {
    case CompareOp::kLess:
      return sign < 0;
    case CompareOp::kLessEqual:
      return sign <= 0;
    case CompareOp::kGreater:
      return sign > 0;
    default:
      return sign >= 0;
  }
}

}  // namespace tandem::jinja
