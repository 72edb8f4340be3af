#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tandem {

inline constexpr std::size_t kPromptPrefixBytes = 512;

// Hashes of a prompt's growing beginnings, the shortest first, in steps of kPromptPrefixBytes and
// at most 64: requests of one conversation share the first of them. `prompt`: the JSON that holds
// it, as it came.
std::vector<std::uint64_t> prompt_prefix(std::string_view prompt);

}  // namespace tandem
