#include "text/symbol_table.h"

#include <bit>
#include <functional>
#include <utility>

namespace tandem {
namespace {

std::uint32_t hash_of(std::string_view bytes) {
  const std::uint64_t hash = std::hash<std::string_view>()(bytes);
  return static_cast<std::uint32_t>(hash ^ hash >> 32);
}

}  // namespace

void SymbolTable::reserve(std::size_t num_symbols) {
  const std::size_t num_slots = std::bit_ceil(2 * num_symbols + 2);
  if (num_slots > slots_.size()) grow(num_slots);
}

std::size_t SymbolTable::slot_of(std::string_view bytes, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = hash & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (slot.number < 0) return i;
    if (slot.hash == hash && std::string_view(arena_).substr(slot.begin, slot.size) == bytes) {
      return i;
    }
  }
}

std::int32_t SymbolTable::find(std::string_view bytes) const {
  if (slots_.empty()) return -1;
  return slots_[slot_of(bytes, hash_of(bytes))].number;
}

std::int32_t SymbolTable::intern(std::string_view bytes, std::int32_t fallback) {
  reserve(num_used_ + 1);
  const std::uint32_t hash = hash_of(bytes);
  Slot& slot = slots_[slot_of(bytes, hash)];
  if (slot.number < 0) {
    slot = {fallback, hash, arena_.size(), bytes.size()};
    arena_ += bytes;
    ++num_used_;
  }
  return slot.number;
}

void SymbolTable::grow(std::size_t num_slots) {
  std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(num_slots));
  for (const Slot& slot : old) {
    if (slot.number < 0) continue;
    slots_[slot_of(std::string_view(arena_).substr(slot.begin, slot.size), slot.hash)] = slot;
  }
}

}  // namespace tandem
