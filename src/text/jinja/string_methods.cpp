// Methods of str.
#include <algorithm>

#include "text/jinja/arguments.h"
#include "text/jinja/attributes.h"
#include "text/jinja/format_method.h"
#include "text/jinja/py_string.h"
#include "text/jinja/text_form.h"
#include "text/utf8.h"

namespace tandem::jinja {
namespace {

constexpr Int kMaxSplits = Int{1} << 60;

Result<Value> text_result(Interpreter& interpreter, const StringData& like, std::string text) {
  return make_string(interpreter.budget(), std::move(text), like.safe);
}

template <std::string (*Map)(std::string_view)>
Result<Value> mapped(Interpreter& interpreter, const StringData& text, const Arguments& arguments) {
  TANDEM_TRY_STATUS(bind("str method", {}, arguments));
  return text_result(interpreter, text, Map(text.text));
}

std::string swap_case(std::string_view text) {
  std::string result;
  for (const auto character : code_points(text)) {
    const char32_t c = code_point_of(character);
    const char32_t swapped = to_lower(c) != c ? to_lower(c) : to_upper(c);
    swapped == c ? result.append(character) : (append_utf8(result, swapped), result);
  }
  return result;
}

template <bool Left, bool Right>
Result<Value> stripped(Interpreter& interpreter, const StringData& text,
                       const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("strip", {"chars"}, arguments));
  TANDEM_TRY(const auto chars, text_or_none(bound[0]));
  TANDEM_TRY_STATUS(interpreter.budget().spend_steps(
      chars ? static_cast<std::int64_t>(chars->size() * (text.text.size() / 256 + 1)) : 0));
  const std::optional<std::string_view> view =
      chars ? std::optional<std::string_view>(*chars) : std::nullopt;
  return text_result(interpreter, text, std::string(strip(text.text, Left, Right, view)));
}

Result<Value> list_of_texts(Interpreter& interpreter, const std::vector<std::string_view>& parts,
                            bool safe, SequenceKind kind = SequenceKind::kList) {
  std::vector<Value> items;
  for (const auto part : parts) {
    TANDEM_TRY(Value item, make_string(interpreter.budget(), std::string(part), safe));
    items.push_back(std::move(item));
  }
  return make_sequence(interpreter.budget(), std::move(items), kind);
}

template <bool FromRight>
Result<Value> split_method(Interpreter& interpreter, const StringData& text,
                           const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("split", {"sep", "maxsplit"}, arguments));
  TANDEM_TRY(const auto separator, text_or_none(bound[0]));
  TANDEM_TRY(const Int max_splits, int_or(bound[1], -1));
  if (separator && separator->empty()) return render_error("empty separator");
  if (FromRight && separator) {  // searched backwards, byte by byte
    TANDEM_TRY_STATUS(interpreter.budget().spend_steps(
        static_cast<std::int64_t>(separator->size() * (text.text.size() / 256 + 1))));
  }
  TANDEM_TRY_STATUS(interpreter.budget().allocate(text.text.size(), sizeof(std::string_view) / 2));
  const std::optional<std::string_view> view =
      separator ? std::optional<std::string_view>(*separator) : std::nullopt;
  const auto limit = static_cast<std::int64_t>(std::clamp<Int>(max_splits, -1, kMaxSplits));
  return list_of_texts(interpreter, split(text.text, view, limit, FromRight), text.safe);
}

Result<Value> splitlines_method(Interpreter& interpreter, const StringData& text,
                                const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("splitlines", {"keepends"}, arguments));
  return list_of_texts(interpreter, split_lines(text.text, bool_or(bound[0], false)), text.safe);
}

template <bool FromRight>
Result<Value> partition_method(Interpreter& interpreter, const StringData& text,
                               const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("partition", {"sep"}, arguments, 1));
  TANDEM_TRY(const auto separator, text_or_none(bound[0]));
  if (!separator || separator->empty()) return render_error("empty separator");
  TANDEM_TRY_STATUS(interpreter.budget().spend_steps(
      static_cast<std::int64_t>(separator->size() * (text.text.size() / 256 + 1))));
  const std::string_view all = text.text;
  const std::size_t at = FromRight ? all.rfind(*separator) : find_text(all, *separator);
  std::vector<std::string_view> parts;
  if (at == std::string_view::npos) {
    parts = FromRight ? std::vector<std::string_view>{"", "", all}
                      : std::vector<std::string_view>{all, "", ""};
  } else {
    parts = {all.substr(0, at), *separator, all.substr(at + separator->size())};
  }
  return list_of_texts(interpreter, parts, text.safe, SequenceKind::kTuple);
}

Result<Value> join_method(Interpreter& interpreter, const StringData& text,
                          const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("join", {"iterable"}, arguments, 1));
  TANDEM_TRY(const auto items, elements_of(interpreter.budget(), *bound[0]));
  TANDEM_TRY_STATUS(interpreter.budget().allocate(items.size(), text.text.size()));
  std::string result;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto* part = items[i].as_string();
    if (!part)
      return render_error("sequence item: expected str instance, " +
                          std::string(type_name(items[i])) + " found");
    TANDEM_TRY_STATUS(interpreter.budget().allocate(part->text.size()));
    if (i > 0) result += text.text;
    result += text.safe && !part->safe ? escape_html(part->text) : part->text;
  }
  return text_result(interpreter, text, std::move(result));
}

Result<Value> replace_method(Interpreter& interpreter, const StringData& text,
                             const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("replace", {"old", "new", "count"}, arguments, 2));
  TANDEM_TRY(const auto from, text_or_none(bound[0]));
  TANDEM_TRY(const auto to, text_or_none(bound[1]));
  TANDEM_TRY(const Int count, int_or(bound[2], -1));
  if (!from || !to) return render_error("replace() takes strings");
  const auto limit = static_cast<std::int64_t>(std::clamp<Int>(count, -1, kMaxSplits));
  TANDEM_TRY(std::string result, replace_text(interpreter.budget(), text.text, *from, *to, limit));
  return text_result(interpreter, text, std::move(result));
}

template <bool AtEnd>
Result<Value> has_affix(Interpreter&, const StringData& text, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind(AtEnd ? "endswith" : "startswith", {"affix"}, arguments, 1));
  std::vector<Value> choices = {*bound[0]};
  const auto* tuple = bound[0]->as_sequence();
  if (tuple && tuple->kind == SequenceKind::kTuple) choices = tuple->items;
  for (const Value& choice : choices) {
    const auto* affix = choice.as_string();
    if (!affix) return render_error("startswith/endswith take a str or a tuple of str");
    if (AtEnd ? text.text.ends_with(affix->text) : text.text.starts_with(affix->text))
      return Value(true);
  }
  return Value(false);
}

template <bool AtEnd>
Result<Value> remove_affix(Interpreter& interpreter, const StringData& text,
                           const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("removeprefix", {"affix"}, arguments, 1));
  TANDEM_TRY(const auto affix, text_or_none(bound[0]));
  std::string_view rest = text.text;
  if (affix && !AtEnd && rest.starts_with(*affix)) rest.remove_prefix(affix->size());
  if (affix && AtEnd && rest.ends_with(*affix)) rest.remove_suffix(affix->size());
  return text_result(interpreter, text, std::string(rest));
}

template <bool FromRight, bool MustExist>
Result<Value> find_method(Interpreter& interpreter, const StringData& text,
                          const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("find", {"sub"}, arguments, 1));
  TANDEM_TRY(const auto part, text_or_none(bound[0]));
  if (!part) return render_error("find() takes a string");
  TANDEM_TRY_STATUS(interpreter.budget().spend_steps(
      FromRight ? static_cast<std::int64_t>(part->size() * (text.text.size() / 256 + 1)) : 0));
  const std::size_t at = FromRight ? text.text.rfind(*part) : find_text(text.text, *part);
  if (at != std::string::npos)
    return Value(static_cast<Int>(num_code_points(text.text.substr(0, at))));
  if (MustExist) return render_error("substring not found");
  return Value(Int{-1});
}

Result<Value> count_method(Interpreter&, const StringData& text, const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("count", {"sub"}, arguments, 1));
  TANDEM_TRY(const auto part, text_or_none(bound[0]));
  if (!part) return render_error("count() takes a string");
  return Value(static_cast<Int>(count_text(text.text, *part)));
}

template <bool (*Matches)(char32_t)>
Result<Value> all_match(Interpreter&, const StringData& text, const Arguments& arguments) {
  TANDEM_TRY_STATUS(bind("str method", {}, arguments));
  const auto characters = code_points(text.text);
  return Value(!characters.empty() && std::all_of(characters.begin(), characters.end(), [](auto c) {
    return Matches(code_point_of(c));
  }));
}

bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}
bool is_alnum(char32_t c) {
  return is_digit(c) || is_alphabetic(c);
}
bool is_upper(char32_t c) {
  return to_lower(c) != c;
}
bool is_lower(char32_t c) {
  return to_upper(c) != c || c == 0xDF;
}

// Some letter of the one case and none of the other.
template <bool (*Wanted)(char32_t), bool (*Unwanted)(char32_t)>
Result<Value> has_case(Interpreter&, const StringData& text, const Arguments& arguments) {
  TANDEM_TRY_STATUS(bind("str method", {}, arguments));
  bool any = false;
  for (const auto character : code_points(text.text)) {
    const char32_t c = code_point_of(character);
    if (Unwanted(c)) return Value(false);
    any = any || Wanted(c);
  }
  return Value(any);
}

enum class Side { kLeft, kRight, kBoth };

template <Side TextAt>
Result<Value> justified(Interpreter& interpreter, const StringData& text,
                        const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("ljust", {"width", "fillchar"}, arguments, 1));
  TANDEM_TRY(const Int width, int_or(bound[0], 0));
  TANDEM_TRY(const auto fill, text_or_none(bound[1]));
  const Int missing = std::max<Int>(0, width - static_cast<Int>(num_code_points(text.text)));
  if (fill && num_code_points(*fill) != 1)
    return render_error("the fill character must be one character");
  TANDEM_TRY_STATUS(interpreter.budget().allocate(
      static_cast<std::size_t>(std::min<Int>(missing, Int{1} << 62)), 4));
  // CPython's str.center puts the odd one left where the width is odd.
  const Int left = TextAt == Side::kLeft    ? 0
                   : TextAt == Side::kRight ? missing
                                            : missing / 2 + (missing & width & 1);
  const auto padding = [&](Int count) {
    std::string result;
    for (Int i = 0; i < count; ++i) result += fill.value_or(" ");
    return result;
  };
  return text_result(interpreter, text, padding(left) + text.text + padding(missing - left));
}

Result<Value> zfill_method(Interpreter& interpreter, const StringData& text,
                           const Arguments& arguments) {
  TANDEM_TRY(const Bound bound, bind("zfill", {"width"}, arguments, 1));
  TANDEM_TRY(const Int width, int_or(bound[0], 0));
  const Int missing = std::max<Int>(0, width - static_cast<Int>(num_code_points(text.text)));
  TANDEM_TRY_STATUS(interpreter.budget().allocate(
      static_cast<std::size_t>(std::min<Int>(missing, Int{1} << 62)), 1));
  const bool has_sign = text.text.starts_with('-') || text.text.starts_with('+');
  std::string result = text.text;
  result.insert(has_sign ? 1 : 0, static_cast<std::size_t>(missing), '0');
  return text_result(interpreter, text, std::move(result));
}

Result<Value> format_method(Interpreter& interpreter, const StringData& text,
                            const Arguments& arguments) {
  TANDEM_TRY(std::string result, format_braces(interpreter.budget(), text.text, arguments));
  return text_result(interpreter, text, std::move(result));
}

constexpr std::pair<std::string_view, StringMethod> kMethods[] = {
    {"upper", mapped<upper_of>},
    {"lower", mapped<lower_of>},
    {"casefold", mapped<lower_of>},
    {"capitalize", mapped<capitalized>},
    {"title", mapped<title_of>},
    {"swapcase", mapped<swap_case>},
    {"strip", stripped<true, true>},
    {"lstrip", stripped<true, false>},
    {"rstrip", stripped<false, true>},
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"splitlines", splitlines_method},
    {"partition", partition_method<false>},
    {"rpartition", partition_method<true>},
    {"join", join_method},
    {"replace", replace_method},
    {"startswith", has_affix<false>},
    {"endswith", has_affix<true>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"find", find_method<false, false>},
    {"rfind", find_method<true, false>},
    {"index", find_method<false, true>},
    {"rindex", find_method<true, true>},
    {"count", count_method},
    {"isdigit", all_match<is_digit>},
    {"isdecimal", all_match<is_digit>},
    {"isnumeric", all_match<is_digit>},
    {"isalpha", all_match<is_alphabetic>},
    {"isalnum", all_match<is_alnum>},
    {"isspace", all_match<is_space>},
    {"isupper", has_case<is_upper, is_lower>},
    {"islower", has_case<is_lower, is_upper>},
    {"ljust", justified<Side::kLeft>},
    {"rjust", justified<Side::kRight>},
    {"center", justified<Side::kBoth>},
    {"zfill", zfill_method},
    {"format", format_method},
};

}  // namespace

StringMethod find_string_method(std::string_view name) {
  const auto found = std::find_if(std::begin(kMethods), std::end(kMethods),
                                  [name](const auto& method) { return method.first == name; });
  return found == std::end(kMethods) ? nullptr : found->second;
}

}  // namespace tandem::jinja
