#include "engine/block_pool.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace tandem {

BlockPool::BlockPool(std::int32_t num_blocks) : blocks_(static_cast<std::size_t>(num_blocks)) {
  TANDEM_CHECK(num_blocks > 0, "a KV cache without blocks");
  free_.reserve(blocks_.size());
  for (std::int32_t block = num_blocks; block-- > 0;) free_.push_back(block);
}

std::optional<std::int32_t> BlockPool::allocate() {
  std::int32_t block = 0;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (!least_recent_.empty()) {
    block = least_recent_.front();
    least_recent_.pop_front();
    forget(block);
  } else {
    return std::nullopt;
  }
  at(block).references = 1;
  return block;
}

BlockPool::Lookup BlockPool::look_up(const BlockKey& key,
                                     std::span<const std::int32_t> tokens) const {
  const auto found = known_.find(key);
  if (found == known_.end()) return Lookup::kMissing;
  const Block& block = at(found->second);
  if (!std::ranges::equal(block.tokens, tokens)) return Lookup::kMissing;
  return block.references == 0 ? Lookup::kCached : Lookup::kOwned;
}

std::optional<std::int32_t> BlockPool::share(const BlockKey& key,
                                             std::span<const std::int32_t> tokens) {
  if (look_up(key, tokens) == Lookup::kMissing) return std::nullopt;
  const std::int32_t index = known_.at(key);
  Block& block = at(index);
  if (block.references == 0) least_recent_.erase(block.recency);
  ++block.references;
  return index;
}

void BlockPool::publish(std::int32_t index, const BlockKey& key,
                        std::span<const std::int32_t> tokens) {
  Block& block = at(index);
  TANDEM_CHECK(block.references > 0, "published a block that nobody owns");
  if (block.is_known || !known_.try_emplace(key, index).second) return;
  block.is_known = true;
  block.key = key;
  block.tokens.assign(tokens.begin(), tokens.end());
}

void BlockPool::release(std::int32_t index) {
  Block& block = at(index);
  TANDEM_CHECK(block.references > 0, "released a block that nobody owns");
  if (--block.references > 0) return;
  if (block.is_known) {
    block.recency = least_recent_.insert(least_recent_.end(), index);
  } else {
    free_.push_back(index);
  }
}

void BlockPool::forget(std::int32_t index) {
  Block& block = at(index);
  known_.erase(block.key);
  block.is_known = false;
  block.tokens.clear();
}

void BlockPool::forget_contents() {
  for (const std::int32_t block : least_recent_) free_.push_back(block);
  least_recent_.clear();
  for (Block& block : blocks_) {
    block.is_known = false;
    block.tokens.clear();
  }
  known_.clear();
}

std::string BlockPool::find_fault() const {
  std::int32_t owned = 0;
  std::size_t known = 0;
  std::vector<std::int32_t> listed(blocks_.size(), 0);
  for (const std::int32_t block : free_) ++listed[static_cast<std::size_t>(block)];
  for (const std::int32_t block : least_recent_) ++listed[static_cast<std::size_t>(block)];
  for (std::int32_t i = 0; i < num_blocks(); ++i) {
    const Block& block = at(i);
    if (block.references < 0) return fmt::format("block {}: {} references", i, block.references);
    if (block.references > 0) ++owned;
    if (listed[static_cast<std::size_t>(i)] != (block.references == 0 ? 1 : 0)) {
      return fmt::format("block {}: {} references, listed {} times", i, block.references,
                         listed[static_cast<std::size_t>(i)]);
    }
    if (!block.is_known) continue;
    ++known;
    const auto found = known_.find(block.key);
    if (found == known_.end() || found->second != i) return fmt::format("block {}: lost key", i);
  }
  if (known != known_.size()) return fmt::format("{} keys, {} known blocks", known_.size(), known);
  if (num_free() + num_cached() + owned != num_blocks()) return "free + cached + owned != all";
  return {};
}

}  // namespace tandem
