#include "text/jinja/string_literal.h"

#include <algorithm>

#include "text/jinja/py_string.h"
#include "text/utf8.h"

namespace tandem::jinja {
namespace {

// Zero where `c` is no one-letter escape.
char simple_escape(char c) {
  static constexpr std::string_view kFrom = "\\'\"abfnrtv";
  static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
  const std::size_t index = kFrom.find(c);
  return index == std::string_view::npos ? '\0' : kTo[index];
}

std::size_t num_hex_digits(char c) {
  return c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
}

bool is_high_surrogate(char32_t c) {
  return c >= 0xD800 && c < 0xDC00;
}

Result<char32_t> hex_escape(std::string_view digits, std::size_t wanted) {
  const bool all_hex =
      digits.size() == wanted && std::all_of(digits.begin(), digits.end(), [](char c) {
        return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
      });
  if (!all_hex)
    return malformed("", "truncated escape in a string", std::to_string(wanted) + " hex digits",
                     std::string(digits));
  const auto value = text_to_int(digits, 16);
  if (*value > 0x10FFFF)
    return malformed("", "illegal Unicode character in a string", "", std::string(digits));
  return static_cast<char32_t>(*value);
}

}  // namespace

Result<std::string> unescape_literal(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      result += text[i];
      continue;
    }
    const char c = text[++i];
    if (const char simple = simple_escape(c)) {
      result += simple;
    } else if (c == '\n') {
      continue;  // a line continued
    } else if (c >= '0' && c <= '7') {
      std::size_t length = 1;
      while (length < 3 && i + length < text.size() && text[i + length] >= '0' &&
             text[i + length] <= '7')
        ++length;
      append_utf8(result, static_cast<char32_t>(*text_to_int(text.substr(i, length), 8)));
      i += length - 1;
    } else if (const std::size_t digits = num_hex_digits(c)) {
      TANDEM_TRY(char32_t code_point, hex_escape(text.substr(i + 1, digits), digits));
      i += digits;
      // A pair of surrogates is one character.
      if (is_high_surrogate(code_point) && text.substr(i + 1, 2) == "\\u") {
        const auto low = hex_escape(text.substr(i + 3, 4), 4);
        if (low.ok() && *low >= 0xDC00 && *low < 0xE000) {
          code_point = 0x10000 + ((code_point - 0xD800) << 10) + (*low - 0xDC00);
          i += 6;
        }
      }
      if (code_point >= 0xD800 && code_point < 0xE000) code_point = 0xFFFD;  // UTF-8 has none
      append_utf8(result, code_point);
    } else if (c == 'N') {
      return unsupported("", "named Unicode characters in a string");
    } else {
      result += '\\';
      result += c;
    }
  }
  return result;
}

}  // namespace tandem::jinja
