#include "engine/prompt_lookup.h"

#include <algorithm>

namespace tandem {

std::vector<std::int32_t> look_up_drafts(std::span<const std::int32_t> tokens,
                                         std::int32_t max_drafts) {
  if (max_drafts <= 0 || tokens.size() <= kLookupTokens) return {};
  if (tokens.size() > kLookupWindow) tokens = tokens.last(kLookupWindow);
  const auto pattern = tokens.last(kLookupTokens);
  for (std::size_t start = tokens.size() - kLookupTokens; start-- > 0;) {
    if (!std::ranges::equal(tokens.subspan(start, kLookupTokens), pattern)) continue;
    const auto found = tokens.subspan(start + kLookupTokens);
    const auto count = std::min(found.size(), static_cast<std::size_t>(max_drafts));
    return {found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  return {};
}

}  // namespace tandem
