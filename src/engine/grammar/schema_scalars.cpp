#include "engine/grammar/schema_scalars.h"

#include <cmath>

#include "engine/grammar/regex_pattern.h"

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int32_t kMaxCount = 100'000;
constexpr double kWholeLimit = 9e18;  // of bounds that fit in 64 bits

// The ones that JSON Schema names and a regular expression can say.
constexpr std::pair<std::string_view, std::string_view> kFormats[] = {
    {"date", R"(^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$)"},
    {"time", R"(^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$)"},
    {"date-time",
     R"(^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$)"},
    {"uuid", R"(^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$)"},
    {"ipv4", R"(^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$)"},
    {"email", R"(^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,8}$)"}};

// A bound as a whole number, rounded inwards; `excluded` where the bound itself is out.
struct Bound {
  std::optional<std::int64_t> value;
  bool excluded = false;
};
Result<Bound> bound_of(const Json& schema, const char* key, const char* exclusive_key,
                       bool is_lower) {
  Bound bound;
  double tightest = 0;
  for (const bool exclusive : {false, true}) {
    const char* name = exclusive ? exclusive_key : key;
    if (!schema.contains(name)) continue;
    const Json& value = schema[name];
    // Draft 4: exclusiveMinimum says whether minimum is.
    if (exclusive && value.is_boolean()) {
      bound.excluded = bound.excluded || value == true;
      continue;
    }
    if (!value.is_number()) return invalid_argument(std::string(name) + " must be a number");
    const double limit = value.get<double>();
    if (!(std::abs(limit) < kWholeLimit)) {
      // Beyond what is written out: no bound, unless it leaves nothing.
      if (is_lower ? limit > 0 : limit < 0)
        return unsupported("", std::string(name) + " of more than 63 bits");
      continue;
    }
    const double whole = is_lower ? std::ceil(limit) : std::floor(limit);
    const bool is_tighter = !bound.value || (is_lower ? limit >= tightest : limit <= tightest);
    if (!is_tighter) continue;
    tightest = limit;
    const bool fits = value.is_number_integer() &&
                      !(value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX);
    bound.value = fits ? value.get<std::int64_t>() : static_cast<std::int64_t>(whole);
    bound.excluded = exclusive && whole == limit;
  }
  return bound;
}

}  // namespace

std::string json_text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::optional<std::int32_t>> count_of(const Json& schema, const char* key) {
  if (!schema.contains(key)) return std::optional<std::int32_t>();
  const Json& value = schema[key];
  const double count = value.is_number() ? value.get<double>() : -1.0;
  if (!(count >= 0) || count != std::floor(count))
    return invalid_argument(std::string(key) + " must be a count", "",
                            json_text_of(value).substr(0, 40));
  // No answer is that long: a higher limit means none.
  if (count > kMaxCount && std::string_view(key).starts_with("max"))
    return std::optional<std::int32_t>();
  if (count > kMaxCount)
    return invalid_argument(std::string(key) + " is too large",
                            "at most " + std::to_string(kMaxCount));
  return std::optional(static_cast<std::int32_t>(count));
}

Result<GrammarExpr> counted(GrammarExpr part, std::int32_t min_count,
                            std::optional<std::int32_t> max_count) {
  if (max_count && *max_count < min_count)
    return invalid_argument("nothing satisfies this: the maximum is below the minimum");
  return repeat_expr(std::move(part), min_count, max_count.value_or(GrammarExpr::kUnbounded));
}

Result<GrammarExpr> convert_string(const Json& schema, JsonRules& rules) {
  TANDEM_TRY(const auto min_length, count_of(schema, "minLength"));
  TANDEM_TRY(const auto max_length, count_of(schema, "maxLength"));
  std::string_view pattern;
  if (schema.contains("pattern")) {
    if (!schema["pattern"].is_string()) return invalid_argument("pattern must be a string");
    pattern = schema["pattern"].get_ref<const std::string&>();
    if (min_length || max_length)
      return unsupported("", "'pattern' together with minLength or maxLength");
  } else if (schema.contains("format") && schema["format"].is_string()) {
    for (const auto& [name, regex] : kFormats) {
      if (schema["format"] == name) pattern = regex;
    }
  }
  const auto quote = text_expr("\"");
  if (!pattern.empty()) {
    TANDEM_TRY(GrammarExpr contents, pattern_expr(pattern, rules));
    return sequence_expr({quote, std::move(contents), quote});
  }
  if (!min_length && !max_length) return rules.string();
  TANDEM_TRY(GrammarExpr character, rules.string_character());
  TANDEM_TRY(GrammarExpr contents,
             counted(std::move(character), min_length.value_or(0), max_length));
  return sequence_expr({quote, std::move(contents), quote});
}

Result<GrammarExpr> convert_number(const Json& schema, bool is_integer, JsonRules& rules) {
  TANDEM_TRY(Bound low, bound_of(schema, "minimum", "exclusiveMinimum", true));
  TANDEM_TRY(Bound high, bound_of(schema, "maximum", "exclusiveMaximum", false));
  if (!low.value && !high.value) return is_integer ? rules.integer() : rules.number();
  std::optional<GrammarExpr> range;
  if (is_integer) {
    if (low.value && low.excluded) ++*low.value;
    if (high.value && high.excluded) --*high.value;
    range = integer_range_expr(low.value, high.value);
  } else {
    range = number_range_expr(low.value, low.excluded, high.value, high.excluded);
  }
  if (range) return std::move(*range);
  if (is_integer) return invalid_argument("nothing satisfies this: no number in the range");
  return unsupported("", "a range of numbers without a whole one in it");
}

}  // namespace tandem
