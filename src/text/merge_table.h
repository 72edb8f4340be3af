#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem {

// What joining two symbols gives: a flat hash table with linear probing, since encoding looks up
// every pair of neighbours in a text.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank = -1;  // lower joins first; -1: the pair does not join
    std::int32_t symbol = -1;
  };

  // Makes room for `num_merges` pairs; call once, before insert().
  void reserve(std::size_t num_merges);
  // Symbols and rank are not negative. A pair that is there already keeps what it has.
  void insert(std::int32_t left, std::int32_t right, Merge merge);
  Merge find(std::int32_t left, std::int32_t right) const {
    if (slots_.empty()) return {};
    const std::uint64_t key = key_of(left, right);
    for (std::size_t i = hash(key);; ++i) {
      const Slot& slot = slots_[i & mask_];
      if (slot.key == key) return slot.merge;
      if (slot.key == kEmpty) return {};
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  // Fibonacci hashing (Knuth, TAOCP 3, 6.4): the high bits of a product with 2^64 / golden ratio.
  static std::size_t hash(std::uint64_t key) {
    return static_cast<std::size_t>((key ^ key >> 29) * 0x9E3779B97F4A7C15ull >> 32);
  }

  std::vector<Slot> slots_;  // a power of two of them, at most half full
  std::size_t mask_ = 0;
  std::size_t num_used_ = 0;
};

}  // namespace tandem
