#pragma once

#include <cstdint>
#include <span>

namespace tandem {

// Stands for a full KV block's contents: its tokens and all tokens before them.
struct BlockKey {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  bool operator==(const BlockKey&) const = default;
};

struct BlockKeyHash {
  std::size_t operator()(const BlockKey& key) const { return static_cast<std::size_t>(key.low); }
};

// Makes keys from a secret of its own, so that no request can be made to meet another's key.
class BlockHasher {
 public:
  BlockHasher();  // draws the secret

  // The key of the block that holds `tokens` and follows `parent` ({} for a first block).
  BlockKey next(const BlockKey& parent, std::span<const std::int32_t> tokens) const;

 private:
  std::uint64_t secret_low_;
  std::uint64_t secret_high_;
};

}  // namespace tandem
