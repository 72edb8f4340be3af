#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

// Numbers for strings of bytes: a flat hash table with linear probing over one arena, since a
// vocabulary of 100,000 tokens and its merges is a million look-ups before the first text.
class SymbolTable {
 public:
  // Makes room for about `num_symbols`.
  void reserve(std::size_t num_symbols);

  // -1 where `bytes` has no number.
  std::int32_t find(std::string_view bytes) const;
  // The number of `bytes`, which becomes `fallback` (not negative) if it has none.
  std::int32_t intern(std::string_view bytes, std::int32_t fallback);

 private:
  struct Slot {
    std::int32_t number = -1;  // -1: empty
    std::uint32_t hash = 0;
    std::size_t begin = 0;  // in arena_
    std::size_t size = 0;
  };

  // The slot that holds `bytes`, or the empty one where it belongs. There is always one.
  std::size_t slot_of(std::string_view bytes, std::uint32_t hash) const;
  void grow(std::size_t num_slots);

  std::vector<Slot> slots_;  // a power of two of them, at most half full
  std::size_t num_used_ = 0;
  std::string arena_;
};

}  // namespace tandem
