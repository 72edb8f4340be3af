#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace tandem {

// A run of byte ranges that together are the UTF-8 of some code points: [E0][A0-BF][80-BF].
using ByteRanges = std::vector<std::pair<std::uint8_t, std::uint8_t>>;

// The UTF-8 of all code points from `first` to `last` (surrogates left out) as alternatives, none
// of which overlap. At most 12 or so.
std::vector<ByteRanges> utf8_ranges(char32_t first, char32_t last);

}  // namespace tandem
