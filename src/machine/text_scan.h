#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/lower_case.h"

namespace tandem {

// Small pieces for reading the text that other tools print. None of them throws or allocates
// without bound; what cannot be read is nullopt.

std::string_view trim(std::string_view text);
bool contains(std::string_view text, std::string_view part);
bool contains_ignoring_case(std::string_view text, std::string_view part);

// At most `bytes` of the front, without half a UTF-8 sequence at the end; a view into `text`.
std::string_view clipped(std::string_view text, std::size_t bytes);

// The lines without their ends; views into `text`.
std::vector<std::string_view> split_lines(std::string_view text);
// The parts between runs of blanks and tabs.
std::vector<std::string_view> split_words(std::string_view text);

// The number that `text` begins with, blanks before it skipped: "16x" -> 16, "350.00 W" -> 350.
// nullopt for "N/A", "", "abc" and for numbers out of range.
std::optional<std::int64_t> leading_int(std::string_view text);
std::optional<double> leading_number(std::string_view text);
std::optional<std::int64_t> leading_hex(std::string_view text);  // "0x10de" or "10de"

// What stands between `before` and `after` (or the end) the first time; nullopt if it does not.
std::optional<std::string_view> between(std::string_view text, std::string_view before,
                                        std::string_view after);

// "24576 MiB", "64G", "256MB", "128GB", "32768 MB" in bytes. K, M, G, T, P are powers of 1024, as
// lspci, nvidia-smi and dmidecode mean them.
std::optional<std::int64_t> size_in_bytes(std::string_view text);

// "Enabled", "Yes", "Active" -> true; "Disabled", "No", "Not Active" -> false; else nullopt.
std::optional<bool> yes_or_no(std::string_view text);

// The text with everything that is not UTF-8, and every terminal escape sequence, replaced or
// left out; UTF-16 with a byte order mark (what PowerShell writes) becomes UTF-8.
std::string clean_text(std::string_view bytes);

}  // namespace tandem
