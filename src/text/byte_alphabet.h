#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tandem {

// GPT-2's alphabet (its encoder.py, bytes_to_unicode): byte-level BPE files spell each byte as one
// printable character, those that print as themselves, the others from U+0100 on ("Ġ" is a space).
char32_t character_of_byte(std::uint8_t byte);
std::optional<std::uint8_t> byte_of_character(char32_t character);

// The bytes that `text` spells; nullopt if a character is not of the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view text);
// Any bytes, spelled.
std::string spelling_of_bytes(std::string_view bytes);

}  // namespace tandem
