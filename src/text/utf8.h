#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tandem {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

// One step of reading UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
struct Utf8Char {
  enum class State {
    kValid,
    kInvalid,     // no continuation can make these bytes valid
    kIncomplete,  // the text ends inside what may become a character
  };

  State state = State::kValid;
  char32_t code_point = kReplacementCharacter;  // the replacement unless kValid
  // Bytes consumed, at least 1. For kInvalid and kIncomplete: the longest prefix of a character
  // that stands there (Unicode 15, section 3.9, "maximal subpart").
  std::size_t num_bytes = 1;
};

// The character at `offset`, which must be less than text.size().
Utf8Char read_utf8(std::string_view text, std::size_t offset);

// Appends the bytes of `code_point`; those of U+FFFD for a surrogate or a value above U+10FFFF.
void append_utf8(std::string& out, char32_t code_point);

bool is_valid_utf8(std::string_view text);

// `text` with each invalid or incomplete sequence replaced by one U+FFFD.
std::string to_valid_utf8(std::string_view text);

}  // namespace tandem
