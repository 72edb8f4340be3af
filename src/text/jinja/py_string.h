#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

// Python's str on UTF-8: what templates do to strings counts code points. What is no valid UTF-8
// counts as one character for each of read_utf8()'s steps.
namespace tandem::jinja {

// One view per code point, in order.
std::vector<std::string_view> code_points(std::string_view text);
std::size_t num_code_points(std::string_view text);
// The length in bytes of the code point at `offset`, which lies in `text`.
std::size_t code_point_bytes(std::string_view text, std::size_t offset);
// The number of the code point that starts `character`; its first byte where it is not valid.
char32_t code_point_of(std::string_view character);

// str.isspace() of one character.
bool is_space(char32_t code_point);
bool is_alphabetic(char32_t code_point);

// str.strip(chars); whitespace without `chars`.
std::string_view strip(std::string_view text, bool left, bool right,
                       std::optional<std::string_view> chars = std::nullopt);

// Simple case mapping: ASCII, Latin-1, Latin Extended-A, Greek, Cyrillic; others stay.
char32_t to_upper(char32_t code_point);
char32_t to_lower(char32_t code_point);
std::string upper_of(std::string_view text);
std::string lower_of(std::string_view text);
std::string capitalized(std::string_view text);
std::string title_of(std::string_view text);

// Position of `needle` at or after `from` in linear time; npos where it is absent.
std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from = 0);
std::size_t count_text(std::string_view text, std::string_view needle);

// str.split(): by runs of whitespace without `separator`, which must not be empty. max_splits < 0:
// all. Views into `text`.
std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator,
                                    std::int64_t max_splits, bool from_right);
// str.splitlines().
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);

// str.replace(); max_replacements < 0: all. Pays for the result.
Result<std::string> replace_text(Budget& budget, std::string_view text, std::string_view from,
                                 std::string_view to, std::int64_t max_replacements);

// markupsafe.escape() of a plain string.
std::string escape_html(std::string_view text);

std::string int_to_text(Int number);
// repr(float): the shortest digits that give the same double, Python's choice of notation.
std::string float_to_text(double number);
// Nullopt where the text is no integer in `base` (0: by prefix) or is out of range.
std::optional<Int> text_to_int(std::string_view text, int base = 10);

}  // namespace tandem::jinja
