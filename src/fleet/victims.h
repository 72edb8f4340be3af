#pragma once

#include <cstdint>
#include <vector>

namespace tandem {

// Something that could give its memory back.
struct Victim {
  std::vector<std::int64_t> bytes;  // by pool
  std::int32_t priority = 0;
  double cost = 0;  // of having to load it again: above 0
};

// The candidates (indices, ascending) that together give back at least `missing` bytes in every
// pool: the lowest highest priority first, then the least sum of costs, then the fewest, then the
// earliest. Exact for up to kExactVictims candidates, beyond that chosen one by one by cost for the
// bytes that are missing, and thinned out. Empty where all together do not suffice, or nothing is
// missing.
inline constexpr std::size_t kExactVictims = 12;
std::vector<std::size_t> choose_victims(const std::vector<Victim>& candidates,
                                        const std::vector<std::int64_t>& missing);

}  // namespace tandem
