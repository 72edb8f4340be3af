#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/block_key.h"

namespace tandem {

// The accounts of the KV cache's blocks; their bytes lie with the ranks. Each block is
//   free    nobody's, contents worthless,
//   owned   of as many sequences as it has references,
//   cached  nobody's, but its contents are known by a key and can be owned again.
// Only full blocks are ever shared, and full blocks are never written: a sequence that parts from
// another starts a block of its own and computes that block's few tokens again.
class BlockPool {
 public:
  explicit BlockPool(std::int32_t num_blocks);

  std::int32_t num_blocks() const { return static_cast<std::int32_t>(blocks_.size()); }
  std::int32_t num_free() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t num_cached() const { return static_cast<std::int32_t>(least_recent_.size()); }
  std::int32_t num_owned() const { return num_blocks() - num_available(); }
  // Blocks that allocate() can still give.
  std::int32_t num_available() const { return num_free() + num_cached(); }

  // A block with one reference: a free one, else the cached one that was longest unused, whose
  // contents are then forgotten. Nullopt: all are owned.
  std::optional<std::int32_t> allocate();
  // The block with these contents, with one more reference. Nullopt: none is known.
  std::optional<std::int32_t> share(const BlockKey& key, std::span<const std::int32_t> tokens);
  // Would share() find it? And is it owned by somebody already?
  enum class Lookup : std::uint8_t { kMissing, kCached, kOwned };
  Lookup look_up(const BlockKey& key, std::span<const std::int32_t> tokens) const;

  // Makes an owned block, now full and computed, known. Where the key is known already, nothing
  // happens: the older block stays the one that is shared.
  void publish(std::int32_t block, const BlockKey& key, std::span<const std::int32_t> tokens);
  // Takes one reference away.
  void release(std::int32_t block);
  // Forgets all contents, as when the ranks' memory is lost. Owned blocks stay owned.
  void forget_contents();

  std::int32_t num_references(std::int32_t block) const { return at(block).references; }
  // Empty, or which of the rules above is broken. Linear in the number of blocks.
  std::string find_fault() const;

 private:
  struct Block {
    std::int32_t references = 0;
    bool is_known = false;
    BlockKey key;
    std::vector<std::int32_t> tokens;           // if known
    std::list<std::int32_t>::iterator recency;  // if cached: its place in least_recent_
  };

  Block& at(std::int32_t block) { return blocks_[static_cast<std::size_t>(block)]; }
  const Block& at(std::int32_t block) const { return blocks_[static_cast<std::size_t>(block)]; }
  void forget(std::int32_t block);

  std::vector<Block> blocks_;
  std::vector<std::int32_t> free_;
  std::list<std::int32_t> least_recent_;  // cached blocks, longest unused first
  std::unordered_map<BlockKey, std::int32_t, BlockKeyHash> known_;
};

}  // namespace tandem
