// Filters of text, numbers and JSON.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/json_form.h"
#include "text/jinja/operators.h"
#include "text/jinja/py_string.h"
#include "text/jinja/text_form.h"
#include "text/utf8.h"

namespace tandem::jinja {
namespace {

// jinja2's soft_str: str() of all but strings.
Result<StringData> soft_text(Interpreter& interpreter, const Value& value) {
  if (const auto* text = value.as_string()) {
    TANDEM_TRY_STATUS(interpreter.budget().allocate(text->text.size()));
    return *text;
  }
  TANDEM_TRY(std::string text, to_text(interpreter.budget(), value));
  return StringData{std::move(text), false};
}

template <std::string (*Map)(std::string_view)>
Result<Value> mapped(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY_STATUS(bind("filter", {}, arguments));
  TANDEM_TRY(const StringData text, soft_text(interpreter, value));
  return make_string(interpreter.budget(), Map(text.text), text.safe);
}

// Capital after each of "-({[<" and white space, unlike str.title().
std::string jinja_title(std::string_view text) {
  std::string result;
  bool at_start = true;
  for (const auto character : code_points(text)) {
    const char32_t c = code_point_of(character);
    append_utf8(result, at_start ? to_upper(c) : to_lower(c));
    at_start = is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  }
  return result;
}

Result<Value> trim(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("trim", {"chars"}, arguments));
  TANDEM_TRY(const StringData text, soft_text(interpreter, value));
  TANDEM_TRY(const auto chars, text_or_none(bound[0]));
  TANDEM_TRY_STATUS(interpreter.budget().spend_steps(
      chars ? static_cast<std::int64_t>(chars->size() * (text.text.size() / 256 + 1)) : 0));
  const std::optional<std::string_view> view =
      chars ? std::optional<std::string_view>(*chars) : std::nullopt;
  return make_string(interpreter.budget(), std::string(strip(text.text, true, true, view)),
                     text.safe);
}

Result<Value> replace(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("replace", {"old", "new", "count"}, arguments, 2));
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const std::string text, to_text(budget, value));
  TANDEM_TRY(const std::string from, to_text(budget, *bound[0]));
  TANDEM_TRY(const std::string to, to_text(budget, *bound[1]));
  TANDEM_TRY(const Int count, int_or(bound[2], -1));
  const auto limit = static_cast<std::int64_t>(std::clamp<Int>(count, -1, Int{1} << 60));
  TANDEM_TRY(std::string result, replace_text(budget, text, from, to, limit));
  return make_string(budget, std::move(result));
}

Result<Value> default_value(Interpreter&, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("default", {"default_value", "boolean"}, arguments));
  const bool is_missing = value.is_undefined() || (bool_or(bound[1], false) && !value.truthy());
  if (!is_missing) return value;
  return bound[0] ? *bound[0] : make_text("");
}

Result<Value> string_filter(Interpreter& interpreter, const Value& value, const Arguments&) {
  TANDEM_TRY(StringData text, soft_text(interpreter, value));
  return make_text(std::move(text.text), text.safe);
}

Result<Value> safe(Interpreter& interpreter, const Value& value, const Arguments&) {
  TANDEM_TRY(std::string text, to_text(interpreter.budget(), value));
  return make_string(interpreter.budget(), std::move(text), true);
}

template <bool Force>
Result<Value> escape(Interpreter& interpreter, const Value& value, const Arguments&) {
  TANDEM_TRY(const StringData text, soft_text(interpreter, value));
  if (text.safe && !Force) return value;
  return make_string(interpreter.budget(), escape_html(text.text), true);
}

Result<Value> tojson(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound,
             bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, arguments));
  JsonStyle style;
  style.ensure_ascii = bool_or(bound[0], false);
  style.sort_keys = bool_or(bound[3], false);
  if (bound[1] && !bound[1]->is_none()) {
    if (const auto* text = bound[1]->as_string()) {
      style.indent = text->text;
    } else {
      TANDEM_TRY(const Int width, int_or(bound[1], 0));
      if (width > 1000) return render_error("tojson: the indent is too wide");
      style.indent = std::string(static_cast<std::size_t>(std::max<Int>(width, 0)), ' ');
    }
    style.item_separator = ",";
  }
  if (bound[2] && !bound[2]->is_none()) {
    TANDEM_TRY(const auto parts, elements_of(interpreter.budget(), *bound[2]));
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      return render_error("tojson: separators must be two strings");
    }
    style.item_separator = parts[0].as_string()->text;
    style.key_separator = parts[1].as_string()->text;
  }
  TANDEM_TRY(std::string text, to_json(interpreter.budget(), value, style));
  return make_string(interpreter.budget(), std::move(text));
}

Result<std::string> indentation(Budget& budget, const Value* width) {
  if (width && width->is_string()) return width->as_string()->text;
  TANDEM_TRY(const Int count, int_or(width, 4));
  TANDEM_TRY_STATUS(
      budget.allocate(static_cast<std::size_t>(std::clamp<Int>(count, 0, Int{1} << 62))));
  return std::string(static_cast<std::size_t>(std::max<Int>(count, 0)), ' ');
}

Result<Value> indent(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("indent", {"width", "first", "blank"}, arguments));
  Budget& budget = interpreter.budget();
  const auto* text = value.as_string();
  if (value.is_undefined()) return undefined_error(value);
  if (!text) return render_error("indent takes a string");
  TANDEM_TRY(const std::string margin, indentation(budget, bound[0]));
  TANDEM_TRY_STATUS(budget.allocate(text->text.size(), sizeof(std::string_view)));
  const std::string ended = text->text + "\n";
  const auto lines = split_lines(ended);
  TANDEM_TRY_STATUS(budget.allocate(lines.size(), margin.size() + 1));
  std::string result = bool_or(bound[1], false) ? margin : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) result += '\n';
    if (i > 0 && (!lines[i].empty() || bool_or(bound[2], false))) result += margin;
    result += lines[i];
  }
  return make_string(budget, std::move(result), text->safe);
}

Result<Value> truncate(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound,
             bind("truncate", {"length", "killwords", "end", "leeway"}, arguments));
  TANDEM_TRY(const StringData text, soft_text(interpreter, value));
  TANDEM_TRY(const Int length, int_or(bound[0], 255));
  TANDEM_TRY(const auto end_text, text_or_none(bound[2]));
  TANDEM_TRY(const Int leeway, int_or(bound[3], 5));  // policy truncate.leeway
  const std::string end = end_text.value_or("...");
  const Int kept = length - static_cast<Int>(num_code_points(end));
  if (kept < 0 || leeway < 0)
    return render_error("truncate: expected length >= " + std::to_string(end.size()) +
                        " and leeway >= 0");
  const auto size = static_cast<Int>(num_code_points(text.text));
  if (size <= length || size - length <= leeway) return value;
  std::size_t bytes = 0;
  for (Int i = 0; i < kept; ++i) bytes += code_point_bytes(text.text, bytes);
  std::string head = text.text.substr(0, bytes);
  if (!bool_or(bound[1], false)) head = head.substr(0, head.rfind(' '));
  return make_string(interpreter.budget(), head + end, text.safe);
}

Result<Value> center(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("center", {"width"}, arguments));
  TANDEM_TRY(const StringData text, soft_text(interpreter, value));
  TANDEM_TRY(const Int width, int_or(bound[0], 80));
  const Int missing = std::max<Int>(0, width - static_cast<Int>(num_code_points(text.text)));
  TANDEM_TRY_STATUS(interpreter.budget().allocate(
      static_cast<std::size_t>(std::min<Int>(missing, Int{1} << 62))));
  const Int left = missing / 2 + (missing & width & 1);
  const auto spaces = [](Int count) { return std::string(static_cast<std::size_t>(count), ' '); };
  return make_string(interpreter.budget(), spaces(left) + text.text + spaces(missing - left),
                     text.safe);
}

Result<Value> format(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Budget& budget = interpreter.budget();
  TANDEM_TRY(const StringData text, soft_text(interpreter, value));
  if (arguments.named.empty()) {
    TANDEM_TRY(const Value tuple,
               make_sequence(budget, arguments.positional, SequenceKind::kTuple));
    return format_percent(budget, text, tuple);
  }
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, argument] : arguments.named)
    entries.emplace_back(make_text(name), argument);
  TANDEM_TRY(const Value dict, make_dict(budget, std::move(entries)));
  return format_percent(budget, text, dict);
}

Result<Value> wordcount(Interpreter& interpreter, const Value& value, const Arguments&) {
  TANDEM_TRY(const StringData text, soft_text(interpreter, value));
  Int words = 0;
  bool inside = false;
  for (const auto character : code_points(text.text)) {
    const char32_t c = code_point_of(character);
    const bool is_word = is_alphabetic(c) || c == '_' || (c >= '0' && c <= '9');
    words += is_word && !inside;
    inside = is_word;
  }
  return Value(words);
}

std::optional<double> parse_float(std::string_view text) {
  text = strip(text, true, true);
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return number;
}

std::optional<double> to_float(const Value& value) {
  if (const auto* text = value.as_string()) return parse_float(text->text);
  return value.as_number();
}

Result<Value> int_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("int", {"default", "base"}, arguments));
  if (value.is_undefined()) return undefined_error(value);
  TANDEM_TRY(const Int base, int_or(bound[1], 10));
  if (const auto* text = value.as_string()) {
    TANDEM_TRY_STATUS(interpreter.budget().spend_reading(text->text.size()));
    const int checked_base = base == 0 || (base >= 2 && base <= 36) ? static_cast<int>(base) : 10;
    if (const auto number = text_to_int(text->text, checked_base)) return Value(*number);
  } else if (const auto whole = value.as_int()) {
    return Value(*whole);
  }
  const auto number = to_float(value);
  if (number && std::abs(*number) < 1e38) return Value(static_cast<Int>(*number));
  return bound[0] ? *bound[0] : Value(Int{0});
}

Result<Value> float_filter(Interpreter& interpreter, const Value& value,
                           const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("float", {"default"}, arguments));
  if (value.is_undefined()) return undefined_error(value);
  if (const auto* text = value.as_string())
    TANDEM_TRY_STATUS(interpreter.budget().spend_reading(text->text.size()));
  if (const auto number = to_float(value)) return Value(*number);
  return bound[0] ? *bound[0] : Value(0.0);
}

Result<Value> abs_filter(Interpreter&, const Value& value, const Arguments&) {
  if (const auto number = value.as_int())
    return *number < 0 ? apply_unary(UnaryOp::kNegate, value) : Value(*number);
  if (const auto number = value.as_number()) return Value(std::abs(*number));
  return value.is_undefined() ? undefined_error(value) : render_error("abs takes a number");
}

// round(): to the nearest, halves of the exact decimal value to even.
double round_to(double number, int precision) {
  if (precision < 0) {
    const double scale = std::pow(10.0, -precision);
    return std::nearbyint(number / scale) * scale;
  }
  char buffer[700];
  std::snprintf(buffer, sizeof buffer, "%.*f", precision, number);
  return std::strtod(buffer, nullptr);
}

Result<Value> round_filter(Interpreter&, const Value& value, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("round", {"precision", "method"}, arguments));
  TANDEM_TRY(const Int precision, int_or(bound[0], 0));
  TANDEM_TRY(const auto method, text_or_none(bound[1]));
  const auto number = value.as_number();
  if (value.is_undefined()) return undefined_error(value);
  if (!number || precision > 300 || precision < -300)
    return render_error("round takes a number and a precision");
  if (!method || *method == "common") {
    if (value.as_int() && precision >= 0) return Value(*value.as_int());
    const double rounded = round_to(*number, static_cast<int>(precision));
    return value.as_int() ? Value(static_cast<Int>(rounded)) : Value(rounded);
  }
  if (*method != "ceil" && *method != "floor")
    return render_error("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  return Value((*method == "ceil" ? std::ceil(*number * scale) : std::floor(*number * scale)) /
               scale);
}

constexpr NamedFilter kFilters[] = {{"upper", mapped<upper_of>},
                                    {"lower", mapped<lower_of>},
                                    {"capitalize", mapped<capitalized>},
                                    {"title", mapped<jinja_title>},
                                    {"trim", trim},
                                    {"replace", replace},
                                    {"default", default_value},
                                    {"d", default_value},
                                    {"string", string_filter},
                                    {"safe", safe},
                                    {"escape", escape<false>},
                                    {"e", escape<false>},
                                    {"forceescape", escape<true>},
                                    {"tojson", tojson},
                                    {"indent", indent},
                                    {"truncate", truncate},
                                    {"center", center},
                                    {"format", format},
                                    {"wordcount", wordcount},
                                    {"int", int_filter},
                                    {"float", float_filter},
                                    {"abs", abs_filter},
                                    {"round", round_filter}};

}  // namespace

std::span<const NamedFilter> scalar_filters() {
  return kFilters;
}

}  // namespace tandem::jinja
