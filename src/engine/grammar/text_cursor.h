#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "text/utf8.h"

namespace tandem {

// Where a parser is in its text, and how it moves on: what grammars and patterns have in common.
class TextCursor {
 protected:
  explicit TextCursor(std::string_view text) : text_(text) {}

  // '\0' at the end.
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool skip(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }

  // One character as it stands. nullopt: it is no UTF-8.
  std::optional<char32_t> read_character() {
    const Utf8Char read = read_utf8(text_, at_);
    if (read.state != Utf8Char::State::kValid) return std::nullopt;
    at_ += read.num_bytes;
    return read.code_point;
  }

  // The value of exactly so many hexadecimal digits, at most 8. nullopt: there are fewer.
  std::optional<char32_t> read_hex(int num_digits) {
    char32_t value = 0;
    for (int i = 0; i < num_digits; ++i, ++at_) {
      const char c = peek();
      const char lower = static_cast<char>(c | 32);
      const int digit = c >= '0' && c <= '9'           ? c - '0'
                        : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
                                                       : -1;
      if (digit < 0) return std::nullopt;
      value = value * 16 + static_cast<char32_t>(digit);
    }
    return value;
  }

  // A number in decimal digits; max + 1 where it is larger than `max`. nullopt: there is none.
  std::optional<std::int32_t> read_number(std::int32_t max) {
    std::int64_t number = 0;
    const std::size_t start = at_;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      if (number <= max) number = number * 10 + (peek() - '0');
    }
    if (at_ == start) return std::nullopt;
    return static_cast<std::int32_t>(number <= max ? number : std::int64_t{max} + 1);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace tandem
