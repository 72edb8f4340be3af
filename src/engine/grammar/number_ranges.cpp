// Ranges of numbers as grammars: the part of json_rules.h that is arithmetic on digits.
#include <algorithm>
#include <string>

#include "engine/grammar/json_rules.h"

namespace tandem {
namespace {

constexpr std::size_t kUnboundedDigits = 16;

GrammarExpr digits_expr(char first, char last) {
  return class_expr({{static_cast<char32_t>(first), static_cast<char32_t>(last)}});
}

GrammarExpr any_digits(std::size_t count) {
  const auto times = static_cast<std::int32_t>(count);
  return repeat_expr(digits_expr('0', '9'), times, times);
}

// Numbers from `low` to `high`, written in as many digits as each other.
GrammarExpr same_length_range(std::string_view low, std::string_view high) {
  if (low.empty()) return text_expr("");
  const std::size_t rest = low.size() - 1;
  if (low[0] == high[0]) {
    return sequence_expr(
        {text_expr(std::string(1, low[0])), same_length_range(low.substr(1), high.substr(1))});
  }
  std::vector<GrammarExpr> choices;
  char first = low[0];
  char last = high[0];
  if (low.substr(1) != std::string(rest, '0')) {
    choices.push_back(sequence_expr({text_expr(std::string(1, first)),
                                     same_length_range(low.substr(1), std::string(rest, '9'))}));
    ++first;
  }
  const bool high_is_partial = high.substr(1) != std::string(rest, '9');
  if (high_is_partial) --last;
  if (first <= last) choices.push_back(sequence_expr({digits_expr(first, last), any_digits(rest)}));
  if (high_is_partial) {
    choices.push_back(sequence_expr({text_expr(std::string(1, high[0])),
                                     same_length_range(std::string(rest, '0'), high.substr(1))}));
  }
  return choice_expr(std::move(choices));
}

// Integers from `low` >= 0 to `high`, or to as many digits as reason allows.
GrammarExpr magnitude_range(std::uint64_t low, std::optional<std::uint64_t> high) {
  const std::string low_digits = std::to_string(low);
  const std::string high_digits =
      high ? std::to_string(*high)
           : std::string(std::max(low_digits.size(), kUnboundedDigits), '9');
  std::vector<GrammarExpr> choices;
  for (std::size_t length = low_digits.size(); length <= high_digits.size(); ++length) {
    std::string smallest(length, '0');
    if (length > 1) smallest[0] = '1';
    const std::string from = length == low_digits.size() ? low_digits : smallest;
    const std::string to = length == high_digits.size() ? high_digits : std::string(length, '9');
    choices.push_back(same_length_range(from, to));
  }
  return choice_expr(std::move(choices));
}

GrammarExpr negative(GrammarExpr magnitude) {
  return sequence_expr({text_expr("-"), std::move(magnitude)});
}

std::uint64_t magnitude_of(std::int64_t number) {
  return number < 0 ? ~static_cast<std::uint64_t>(number) + 1 : static_cast<std::uint64_t>(number);
}

// Numbers from `low` >= 0 to `high`, with fractions.
std::optional<GrammarExpr> decimal_magnitudes(std::uint64_t low, bool low_excluded,
                                              std::optional<std::uint64_t> high,
                                              bool high_excluded) {
  const auto digit = digits_expr('0', '9');
  const auto fraction = sequence_expr({text_expr("."), repeat_expr(digit, 1, 16)});
  const auto zero_fraction = sequence_expr({text_expr("."), repeat_expr(text_expr("0"), 1, 16)});
  const auto positive_fraction = sequence_expr({text_expr("."), repeat_expr(text_expr("0"), 0, 15),
                                                digits_expr('1', '9'), repeat_expr(digit, 0, 15)});
  std::vector<GrammarExpr> choices;
  const bool has_room = !high || *high > low;
  if (has_room) {
    const std::string low_text = std::to_string(low);
    choices.push_back(sequence_expr(
        {text_expr(low_text), low_excluded ? positive_fraction : optional_expr(fraction)}));
    const bool has_middle = !high || *high - 1 > low;
    if (has_middle) {
      const auto last = high ? std::optional(*high - 1) : std::nullopt;
      choices.push_back(sequence_expr({magnitude_range(low + 1, last), optional_expr(fraction)}));
    }
  }
  if (high && !high_excluded && *high >= low && !(low == *high && low_excluded)) {
    choices.push_back(
        sequence_expr({text_expr(std::to_string(*high)), optional_expr(zero_fraction)}));
  }
  if (choices.empty()) return std::nullopt;
  return choice_expr(std::move(choices));
}

}  // namespace

std::optional<GrammarExpr> integer_range_expr(std::optional<std::int64_t> low,
                                              std::optional<std::int64_t> high) {
  if (low && high && *low > *high) return std::nullopt;
  std::vector<GrammarExpr> choices;
  if (!low || *low < 0) {
    const std::uint64_t nearest = high && *high < 0 ? magnitude_of(*high) : 1;
    const auto farthest = low ? std::optional(magnitude_of(*low)) : std::nullopt;
    choices.push_back(negative(magnitude_range(nearest, farthest)));
  }
  if (!high || *high >= 0) {
    const std::uint64_t lowest = low && *low > 0 ? magnitude_of(*low) : 0;
    const auto highest = high ? std::optional(magnitude_of(*high)) : std::nullopt;
    choices.push_back(magnitude_range(lowest, highest));
  }
  return choice_expr(std::move(choices));
}

std::optional<GrammarExpr> number_range_expr(std::optional<std::int64_t> low, bool low_excluded,
                                             std::optional<std::int64_t> high, bool high_excluded) {
  if (low && high && *low > *high) return std::nullopt;
  std::vector<GrammarExpr> choices;
  const auto add = [&choices](std::optional<GrammarExpr> magnitudes, bool is_negative) {
    if (!magnitudes) return;
    choices.push_back(is_negative ? negative(std::move(*magnitudes)) : std::move(*magnitudes));
  };
  if (!low || *low < 0) {
    const bool ends_below_zero = high && *high < 0;
    const auto nearest = ends_below_zero ? magnitude_of(*high) : 0;
    // -0.0 is zero: left to the other side.
    const bool nearest_excluded = ends_below_zero ? high_excluded : true;
    const auto farthest = low ? std::optional(magnitude_of(*low)) : std::nullopt;
    add(decimal_magnitudes(nearest, nearest_excluded, farthest, low_excluded), true);
  }
  if (!high || *high >= 0) {
    const bool starts_at_low = low && *low >= 0;
    const auto lowest = starts_at_low ? magnitude_of(*low) : 0;
    const auto highest = high ? std::optional(magnitude_of(*high)) : std::nullopt;
    add(decimal_magnitudes(lowest, starts_at_low && low_excluded, highest, high_excluded), false);
  }
  if (choices.empty()) return std::nullopt;
  return choice_expr(std::move(choices));
}

}  // namespace tandem
