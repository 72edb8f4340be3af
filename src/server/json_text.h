#pragma once

#include <string>
#include <string_view>

namespace tandem {

// Appends `text` as a JSON string, quotes included. Bytes that are not valid UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);
std::string json_string(std::string_view text);

// How deep arrays and objects nest in a JSON text; a glance, not a check of its grammar. The parser
// builds what it reads, so what is too deep must be refused before.
std::size_t json_depth(std::string_view text);

// About how many comparisons of keys the parser needs for objects that keep their keys' order: it
// looks through all earlier keys of an object for each one, so 100,000 keys take minutes. A glance
// like json_depth().
std::size_t json_key_comparisons(std::string_view text);

}  // namespace tandem
