// Case, escapes and numbers: the other half of py_string.h.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/checked.h"
#include "text/jinja/py_string.h"
#include "text/utf8.h"

namespace tandem::jinja {
namespace {

template <typename Map>
std::string mapped(std::string_view text, Map map) {
  std::string result;
  result.reserve(text.size());
  for (const auto character : code_points(text)) {
    const char32_t before = code_point_of(character);
    const char32_t after = map(before);
    if (after == before) {
      result += character;
    } else {
      append_utf8(result, after);
    }
  }
  return result;
}

// Latin Extended-A pairs neighbours: even/odd up to 0x137 and from 0x14A, odd/even between.
bool pairs_upper_even(char32_t c) {
  return (c >= 0x100 && c <= 0x137 && c != 0x130 && c != 0x131) || (c >= 0x14A && c <= 0x177) ||
         (c >= 0x460 && c <= 0x481) || (c >= 0x48A && c <= 0x4BF) || (c >= 0x4D0 && c <= 0x52F) ||
         (c >= 0x1E00 && c <= 0x1E95) || (c >= 0x1EA0 && c <= 0x1EFF);
}
bool pairs_upper_odd(char32_t c) {
  return (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E) || (c >= 0x4C1 && c <= 0x4CE);
}

}  // namespace

char32_t to_upper(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
  if (c == 0xB5) return 0x39C;
  if (c == 0xFF) return 0x178;
  if (c >= 0xE0 && c <= 0xFE && c != 0xF7) return c - 32;
  if (pairs_upper_even(c)) return c & ~char32_t{1};
  if (pairs_upper_odd(c)) return c % 2 == 0 ? c - 1 : c;
  if (c == 0x3AC) return 0x386;
  if (c >= 0x3AD && c <= 0x3AF) return c - 37;
  if (c == 0x3C2) return 0x3A3;
  if (c >= 0x3B1 && c <= 0x3CB) return c - 32;
  if (c == 0x3CC) return 0x38C;
  if (c == 0x3CD || c == 0x3CE) return c - 63;
  if (c >= 0x430 && c <= 0x44F) return c - 32;
  if (c >= 0x450 && c <= 0x45F) return c - 80;
  if (c >= 0x561 && c <= 0x586) return c - 48;
  if (c >= 0xFF41 && c <= 0xFF5A) return c - 32;
  return c;
}

char32_t to_lower(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  if (c >= 0xC0 && c <= 0xDE && c != 0xD7) return c + 32;
  if (c == 0x178) return 0xFF;
  if (pairs_upper_even(c)) return c | 1;
  if (pairs_upper_odd(c)) return c % 2 == 1 ? c + 1 : c;
  if (c == 0x386) return 0x3AC;
  if (c >= 0x388 && c <= 0x38A) return c + 37;
  if (c == 0x38C) return 0x3CC;
  if (c == 0x38E || c == 0x38F) return c + 63;
  if (c >= 0x391 && c <= 0x3AB && c != 0x3A2) return c + 32;
  if (c >= 0x410 && c <= 0x42F) return c + 32;
  if (c >= 0x400 && c <= 0x40F) return c + 80;
  if (c >= 0x531 && c <= 0x556) return c + 48;
  if (c >= 0xFF21 && c <= 0xFF3A) return c + 32;
  return c;
}

std::string upper_of(std::string_view text) {
  std::string result;
  for (const auto character : code_points(text)) {
    const char32_t c = code_point_of(character);
    if (c == 0xDF) {
      result += "SS";  // the one common letter whose capital is two
    } else if (to_upper(c) == c) {
      result += character;
    } else {
      append_utf8(result, to_upper(c));
    }
  }
  return result;
}

std::string lower_of(std::string_view text) {
  return mapped(text, to_lower);
}

std::string capitalized(std::string_view text) {
  bool first = true;
  return mapped(text, [&first](char32_t c) {
    return std::exchange(first, false) ? to_upper(c) : to_lower(c);
  });
}

std::string title_of(std::string_view text) {
  bool inside = false;
  return mapped(text, [&inside](char32_t c) {
    const char32_t result = inside ? to_lower(c) : to_upper(c);
    inside = is_alphabetic(c);
    return result;
  });
}

std::string escape_html(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&#34;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string int_to_text(Int number) {
  __extension__ using Unsigned = unsigned __int128;
  auto rest = number < 0 ? -static_cast<Unsigned>(number) : static_cast<Unsigned>(number);
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(rest % 10)));
    rest /= 10;
  } while (rest != 0);
  return number < 0 ? "-" + digits : digits;
}

std::string float_to_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer;
  const double size = std::abs(number);
  // CPython's float_repr_style 'short': exponents from 1e16 up and below 1e-4.
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, format).ptr;
  std::string text(buffer.data(), end);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::optional<Int> text_to_int(std::string_view text, int base) {
  text = strip(text, true, true);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto prefix = text.substr(0, 2);
  const int prefixed = prefix == "0x" || prefix == "0X"   ? 16
                       : prefix == "0o" || prefix == "0O" ? 8
                       : prefix == "0b" || prefix == "0B" ? 2
                                                          : 0;
  if (prefixed != 0 && (base == 0 || base == prefixed)) text.remove_prefix(2);
  if (base == 0) base = prefixed != 0 ? prefixed : 10;
  std::optional<Int> value = 0;
  bool digit_before = false;
  for (const char c : text) {
    if (c == '_' && std::exchange(digit_before, false)) continue;
    const char lower = static_cast<char>(c | 32);
    const int digit = c >= '0' && c <= '9'           ? c - '0'
                      : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10
                                                     : 99;
    if (digit >= base) return std::nullopt;
    Int scaled;
    Int sum;
    if (__builtin_mul_overflow(*value, Int{base}, &scaled)) return std::nullopt;
    if (__builtin_add_overflow(scaled, Int{digit}, &sum)) return std::nullopt;
    value = sum;
    digit_before = true;
  }
  if (!digit_before) return std::nullopt;
  return negative ? -*value : *value;
}

}  // namespace tandem::jinja
