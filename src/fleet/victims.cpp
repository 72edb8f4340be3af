#include "fleet/victims.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <tuple>

namespace tandem {
namespace {

using Bytes = std::vector<std::int64_t>;

bool suffices(const std::vector<Victim>& candidates, const std::vector<std::size_t>& chosen,
              const Bytes& missing) {
  for (std::size_t pool = 0; pool < missing.size(); ++pool) {
    std::int64_t sum = 0;
    for (const std::size_t i : chosen) sum += candidates[i].bytes[pool];
    if (sum < missing[pool]) return false;
  }
  return true;
}

std::vector<std::size_t> exact(const std::vector<Victim>& candidates, const Bytes& missing) {
  using Rank = std::tuple<std::int32_t, double, int, std::uint32_t>;
  Rank best{std::numeric_limits<std::int32_t>::max(), 0, 0, 0};
  std::vector<std::size_t> best_set;
  for (std::uint32_t mask = 1; mask < 1u << candidates.size(); ++mask) {
    Rank rank{std::numeric_limits<std::int32_t>::min(), 0, std::popcount(mask), mask};
    std::vector<std::size_t> chosen;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if ((mask >> i & 1u) == 0) continue;
      chosen.push_back(i);
      std::get<0>(rank) = std::max(std::get<0>(rank), candidates[i].priority);
      std::get<1>(rank) += candidates[i].cost;
    }
    if (rank < best && suffices(candidates, chosen, missing)) {
      best = rank;
      best_set = chosen;
    }
  }
  return best_set;
}

// Bytes of what is still missing that the candidate gives, as parts of the whole pools' lack.
double use_of(const Victim& candidate, const Bytes& missing) {
  double use = 0;
  for (std::size_t pool = 0; pool < missing.size(); ++pool) {
    if (missing[pool] <= 0) continue;
    use += static_cast<double>(std::min(candidate.bytes[pool], missing[pool])) /
           static_cast<double>(missing[pool]);
  }
  return use;
}

std::vector<std::size_t> one_by_one(const std::vector<Victim>& candidates, Bytes missing) {
  const Bytes all_missing = missing;
  std::vector<std::size_t> chosen;
  std::vector<bool> taken(candidates.size(), false);
  while (std::any_of(missing.begin(), missing.end(), [](std::int64_t lack) { return lack > 0; })) {
    std::size_t best = candidates.size();
    std::tuple<std::int32_t, double> best_rank;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const double use = taken[i] ? 0 : use_of(candidates[i], missing);
      if (use <= 0) continue;
      const std::tuple rank{candidates[i].priority, candidates[i].cost / use};
      if (best < candidates.size() && rank >= best_rank) continue;
      best = i;
      best_rank = rank;
    }
    if (best == candidates.size()) return {};
    taken[best] = true;
    chosen.push_back(best);
    for (std::size_t pool = 0; pool < missing.size(); ++pool) {
      missing[pool] -= candidates[best].bytes[pool];
    }
  }
  // What later choices made superfluous stays, the dearest first.
  auto dearest_first = chosen;
  std::stable_sort(dearest_first.begin(), dearest_first.end(), [&](std::size_t a, std::size_t b) {
    return std::tuple(candidates[a].priority, candidates[a].cost) >
           std::tuple(candidates[b].priority, candidates[b].cost);
  });
  for (const std::size_t i : dearest_first) {
    auto without = chosen;
    std::erase(without, i);
    if (suffices(candidates, without, all_missing)) chosen = std::move(without);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

std::vector<std::size_t> choose_victims(const std::vector<Victim>& candidates,
                                        const Bytes& missing) {
  if (std::all_of(missing.begin(), missing.end(), [](std::int64_t lack) { return lack <= 0; })) {
    return {};
  }
  return candidates.size() <= kExactVictims ? exact(candidates, missing)
                                            : one_by_one(candidates, missing);
}

}  // namespace tandem
