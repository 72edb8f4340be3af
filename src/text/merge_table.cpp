#include "text/merge_table.h"

#include <bit>

#include "base/check.h"

namespace tandem {

void MergeTable::reserve(std::size_t num_merges) {
  TANDEM_CHECK(slots_.empty(), "reserve() twice");
  slots_.resize(std::bit_ceil(2 * num_merges + 2));
  mask_ = slots_.size() - 1;
}

void MergeTable::insert(std::int32_t left, std::int32_t right, Merge merge) {
  TANDEM_CHECK(2 * (num_used_ + 1) <= slots_.size(), "more merges than reserved");
  const std::uint64_t key = key_of(left, right);
  std::size_t i = hash(key) & mask_;
  while (slots_[i].key != kEmpty) {
    if (slots_[i].key == key) return;
    i = (i + 1) & mask_;
  }
  slots_[i] = {key, merge};
  ++num_used_;
}

}  // namespace tandem
