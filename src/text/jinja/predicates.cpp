#include "text/jinja/predicates.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/py_string.h"

namespace tandem::jinja {
namespace {

using Test = Result<bool> (*)(Interpreter&, const Value&, const Arguments&);

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.get_if<bool>() != nullptr;
}
bool is_true(const Value& value) {
  return is_boolean(value) && value.truthy();
}
bool is_false(const Value& value) {
  return is_boolean(value) && !value.truthy();
}
bool is_integer(const Value& value) {
  return value.get_if<Int>() != nullptr;
}
bool is_float(const Value& value) {
  return value.get_if<double>() != nullptr;
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_string(const Value& value) {
  return value.is_string();
}
bool is_mapping(const Value& value) {
  return value.as_dict() != nullptr;
}
bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.as_sequence() || value.as_dict() ||
         value.as_iterator() || value.get_if<std::shared_ptr<LoopState>>();
}
// Python asks for len() and [].
bool is_sequence(const Value& value) {
  const auto* sequence = value.as_sequence();
  return value.is_undefined() || value.is_string() || value.as_dict() ||
         (sequence && sequence->kind < SequenceKind::kKeys);
}
bool is_callable(const Value& value) {
  return value.is_undefined() || value.get_if<std::shared_ptr<const MethodData>>() ||
         value.get_if<std::shared_ptr<LoopState>>() || value.get_if<const Macro*>() ||
         value.get_if<const Function*>();
}
bool is_escaped(const Value& value) {
  return value.is_string() && value.as_string()->safe;
}

template <bool (*Holds)(const Value&)>
Result<bool> plain(Interpreter&, const Value& value, const Arguments& arguments) {
  TANDEM_TRY_STATUS(bind("test", {}, arguments));
  return Holds(value);
}

template <CompareOp Op>
Result<bool> compared(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("test", {"other"}, arguments, 1));
  return apply_compare(interpreter.budget(), Op, value, *bound[0]);
}

Result<bool> same_as(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("sameas", {"other"}, arguments, 1));
  if (value.data().index() != bound[0]->data().index()) return false;
  return equals(interpreter.budget(), value, *bound[0]);
}

Result<Value> modulo(Interpreter& interpreter, const Value& value, const Value& divisor) {
  return apply_binary(interpreter.budget(), BinaryOp::kModulo, value, divisor);
}

template <bool Odd>
Result<bool> has_parity(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY_STATUS(bind("odd", {}, arguments));
  TANDEM_TRY(const Value rest, modulo(interpreter, value, Value(Int{2})));
  return rest.is_number() && *rest.as_number() == (Odd ? 1 : 0);
}

Result<bool> divisible_by(Interpreter& interpreter, const Value& value,
                          const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("divisibleby", {"num"}, arguments, 1));
  TANDEM_TRY(const Value rest, modulo(interpreter, value, *bound[0]));
  return rest.is_number() && !rest.truthy();
}

template <std::string (*Map)(std::string_view), char32_t (*Other)(char32_t)>
Result<bool> in_case(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY_STATUS(bind("upper", {}, arguments));
  const auto* text = value.as_string();
  if (!text) return false;
  TANDEM_TRY_STATUS(interpreter.budget().allocate(text->text.size()));
  const auto characters = code_points(text->text);
  const bool cased = std::any_of(characters.begin(), characters.end(), [](auto c) {
    return Other(code_point_of(c)) != code_point_of(c);
  });
  return cased && Map(text->text) == text->text;
}

Result<bool> names_filter(Interpreter&, const Value& value, const Arguments&) {
  return value.is_string() && has_filter(value.as_string()->text);
}

bool has_test(std::string_view name);
Result<bool> names_test(Interpreter&, const Value& value, const Arguments&) {
  return value.is_string() && has_test(value.as_string()->text);
}

constexpr std::pair<std::string_view, Test> kTests[] = {
    {"defined", plain<is_defined>},
    {"undefined", plain<is_undefined>},
    {"none", plain<is_none>},
    {"boolean", plain<is_boolean>},
    {"true", plain<is_true>},
    {"false", plain<is_false>},
    {"integer", plain<is_integer>},
    {"float", plain<is_float>},
    {"number", plain<is_number>},
    {"string", plain<is_string>},
    {"mapping", plain<is_mapping>},
    {"iterable", plain<is_iterable>},
    {"sequence", plain<is_sequence>},
    {"callable", plain<is_callable>},
    {"escaped", plain<is_escaped>},
    {"eq", compared<CompareOp::kEqual>},
    {"equalto", compared<CompareOp::kEqual>},
    {"==", compared<CompareOp::kEqual>},
    {"ne", compared<CompareOp::kNotEqual>},
    {"!=", compared<CompareOp::kNotEqual>},
    {"lt", compared<CompareOp::kLess>},
    {"lessthan", compared<CompareOp::kLess>},
    {"<", compared<CompareOp::kLess>},
    {"le", compared<CompareOp::kLessEqual>},
    {"<=", compared<CompareOp::kLessEqual>},
    {"gt", compared<CompareOp::kGreater>},
    {"greaterthan", compared<CompareOp::kGreater>},
    {">", compared<CompareOp::kGreater>},
    {"ge", compared<CompareOp::kGreaterEqual>},
    {">=", compared<CompareOp::kGreaterEqual>},
    {"in", compared<CompareOp::kIn>},
    {"sameas", same_as},
    {"odd", has_parity<true>},
    {"even", has_parity<false>},
    {"divisibleby", divisible_by},
    {"upper", in_case<upper_of, to_lower>},
    {"lower", in_case<lower_of, to_upper>},
    {"filter", names_filter},
    {"test", names_test},
};

Test find_test(std::string_view name) {
  const auto found = std::find_if(std::begin(kTests), std::end(kTests),
                                  [name](const auto& test) { return test.first == name; });
  return found == std::end(kTests) ? nullptr : found->second;
}

bool has_test(std::string_view name) {
  return find_test(name) != nullptr;
}

}  // namespace

Result<bool> apply_test(Interpreter& interpreter, std::string_view name, const Value& value,
                        const Arguments& arguments) {
  const Test test = find_test(name);
  if (!test) return unsupported("", "No test named '" + std::string(name.substr(0, 40)) + "'.");
  return test(interpreter, value, arguments);
}

}  // namespace tandem::jinja
