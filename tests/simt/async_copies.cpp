#include "simt/async_copies.h"

#include <cstddef>
#include <cstring>

#include "simt/race_checker.h"

namespace simt {

void AsyncCopies::begin(void* to, const void* from, int bytes, int source_bytes, RaceChecker* races,
                        const void* place) {
  if (groups_.empty()) groups_.emplace_back();
  std::uint64_t begun = 0;
  if (races != nullptr) {
    begun = races->begin_copy(to, static_cast<std::size_t>(bytes), place);
    races->access(from, static_cast<std::size_t>(source_bytes), RaceChecker::Access::kRead, place);
  }
  groups_.back().push_back({to, from, bytes, source_bytes, begun});
}

void AsyncCopies::commit() {
  if (groups_.empty()) groups_.emplace_back();
  groups_.emplace_back();
}

void AsyncCopies::wait(int groups_left, RaceChecker* races, const void* place) {
  // The last entry is the open group, which no wait is for.
  while (static_cast<int>(groups_.size()) - 1 > groups_left) {
    for (const Copy& copy : groups_.front()) finish(copy, races, place);
    groups_.erase(groups_.begin());
  }
}

void AsyncCopies::finish(const Copy& copy, RaceChecker* races, const void* place) {
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  const auto source_bytes = static_cast<std::size_t>(copy.source_bytes);
  if (races != nullptr) {
    races->access(copy.from, source_bytes, RaceChecker::Access::kRead, place);
    races->end_copy(copy.to, bytes, copy.begun, place);
  }
  if (source_bytes > 0) std::memcpy(copy.to, copy.from, source_bytes);
  std::memset(static_cast<std::byte*>(copy.to) + source_bytes, 0, bytes - source_bytes);
}

}  // namespace simt
