#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tandem {

// Guesses what follows `tokens`: what followed the latest earlier place where the last
// kLookupTokens tokens stand, at most `max_drafts` of it. Empty: they stand nowhere else.
// Saxena, "Prompt lookup decoding" (2023). Looks back over the last kLookupWindow tokens only.
std::vector<std::int32_t> look_up_drafts(std::span<const std::int32_t> tokens,
                                         std::int32_t max_drafts);

inline constexpr std::size_t kLookupTokens = 3;
inline constexpr std::size_t kLookupWindow = 8192;

}  // namespace tandem
