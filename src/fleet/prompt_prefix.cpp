#include "fleet/prompt_prefix.h"

#include <algorithm>

namespace tandem {
namespace {

constexpr std::size_t kMaxBlocks = 64;

}  // namespace

std::vector<std::uint64_t> prompt_prefix(std::string_view prompt) {
  std::vector<std::uint64_t> hashes;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bits
  const std::size_t num_blocks = std::min(prompt.size() / kPromptPrefixBytes, kMaxBlocks);
  hashes.reserve(num_blocks);
  for (std::size_t i = 0; i < num_blocks; ++i) {
    for (const char c : prompt.substr(i * kPromptPrefixBytes, kPromptPrefixBytes)) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    hashes.push_back(hash);
  }
  return hashes;
}

}  // namespace tandem
