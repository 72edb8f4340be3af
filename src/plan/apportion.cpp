#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "plan/layout.h"

namespace tandem {

std::vector<Interval> apportion(std::int64_t total, const std::vector<double>& shares) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  TANDEM_CHECK(sum > 0.0 && total >= 0, "apportion() needs a total and shares above zero");
  std::vector<std::int64_t> counts(shares.size());
  std::vector<std::pair<double, std::size_t>> remainders;
  std::int64_t given = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const double exact = static_cast<double>(total) * shares[i] / sum;
    counts[i] = static_cast<std::int64_t>(std::floor(exact));
    given += counts[i];
    // A share of zero never gets a remainder.
    if (shares[i] > 0.0) remainders.emplace_back(exact - std::floor(exact), i);
  }
  std::stable_sort(remainders.begin(), remainders.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (std::size_t i = 0; given < total; i = (i + 1) % remainders.size(), ++given) {
    ++counts[remainders[i].second];
  }
  std::vector<Interval> intervals;
  std::int64_t begin = 0;
  for (const std::int64_t count : counts) {
    intervals.push_back({begin, begin + count});
    begin += count;
  }
  return intervals;
}

}  // namespace tandem
