#include "text/utf8.h"

#include <cstdint>

namespace tandem {
namespace {

// What may follow a lead byte: number of continuation bytes, and the range of the first of them,
// which excludes overlong forms, surrogates and values above U+10FFFF (RFC 3629, section 4).
struct Lead {
  int num_continuations;  // -1: not a lead byte
  std::uint8_t first_low;
  std::uint8_t first_high;
};

Lead lead_of(std::uint8_t byte) {
  if (byte < 0x80) return {0, 0, 0};
  if (byte < 0xC2) return {-1, 0, 0};
  if (byte < 0xE0) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte < 0xF0) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte < 0xF4) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {-1, 0, 0};
}

}  // namespace

Utf8Char read_utf8(std::string_view text, std::size_t offset) {
  const auto byte = static_cast<std::uint8_t>(text[offset]);
  const Lead lead = lead_of(byte);
  if (lead.num_continuations < 0) return {Utf8Char::State::kInvalid, kReplacementCharacter, 1};
  if (lead.num_continuations == 0) return {Utf8Char::State::kValid, byte, 1};

  char32_t code_point = byte & (0x3F >> lead.num_continuations);
  const std::size_t length = static_cast<std::size_t>(lead.num_continuations) + 1;
  for (std::size_t i = 1; i < length; ++i) {
    if (offset + i >= text.size()) {
      return {Utf8Char::State::kIncomplete, kReplacementCharacter, i};
    }
    const auto next = static_cast<std::uint8_t>(text[offset + i]);
    const std::uint8_t low = i == 1 ? lead.first_low : 0x80;
    const std::uint8_t high = i == 1 ? lead.first_high : 0xBF;
    if (next < low || next > high) return {Utf8Char::State::kInvalid, kReplacementCharacter, i};
    code_point = (code_point << 6) | (next & 0x3F);
  }
  return {Utf8Char::State::kValid, code_point, length};
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto tail = [&](int shift) {
    out += static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | (code_point >> 6));
    tail(0);
  } else if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) {
    out += kReplacementUtf8;
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | (code_point >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | (code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Char c = read_utf8(text, i);
    if (c.state != Utf8Char::State::kValid) return false;
    i += c.num_bytes;
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Char c = read_utf8(text, i);
    if (c.state == Utf8Char::State::kValid) {
      out += text.substr(i, c.num_bytes);
    } else {
      out += kReplacementUtf8;
    }
    i += c.num_bytes;
  }
  return out;
}

}  // namespace tandem
