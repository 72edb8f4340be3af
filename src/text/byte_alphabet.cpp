#include "text/byte_alphabet.h"

#include <array>

#include "text/utf8.h"

namespace tandem {
namespace {

constexpr bool prints_as_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char32_t, 256> make_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    characters[static_cast<std::size_t>(byte)] =
        prints_as_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return characters;
}

constexpr std::array<char32_t, 256> kCharacters = make_characters();
constexpr std::size_t kNumCharacters = 0x100 + 68;  // 68 bytes do not print as themselves

constexpr std::array<std::int16_t, kNumCharacters> make_bytes() {
  std::array<std::int16_t, kNumCharacters> bytes{};
  bytes.fill(-1);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    bytes[kCharacters[byte]] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}

constexpr std::array<std::int16_t, kNumCharacters> kBytes = make_bytes();

}  // namespace

char32_t character_of_byte(std::uint8_t byte) {
  return kCharacters[byte];
}

std::optional<std::uint8_t> byte_of_character(char32_t character) {
  if (character >= kNumCharacters || kBytes[character] < 0) return std::nullopt;
  return static_cast<std::uint8_t>(kBytes[character]);
}

std::optional<std::string> bytes_of_spelling(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Char c = read_utf8(text, i);
    const auto byte = byte_of_character(c.code_point);
    if (c.state != Utf8Char::State::kValid || !byte) return std::nullopt;
    bytes += static_cast<char>(*byte);
    i += c.num_bytes;
  }
  return bytes;
}

std::string spelling_of_bytes(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes)
    append_utf8(text, character_of_byte(static_cast<std::uint8_t>(byte)));
  return text;
}

}  // namespace tandem
