#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tandem {

// out[i] = source(0)[i] + source(1)[i] + ... + source(num_sources - 1)[i], added in this order, for
// i in [0, count). `out` may be one of the sources.
template <typename Source>
void add_in_order(float* out, std::int64_t count, int num_sources, Source&& source) {
  constexpr std::int64_t kBlock = 512;  // stays in the first-level cache
  float sums[kBlock];
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, count - begin);
    const float* first = source(0) + begin;
    const float* second = source(1) + begin;
    for (std::int64_t i = 0; i < n; ++i) sums[i] = first[i] + second[i];
    for (int s = 2; s < num_sources; ++s) {
      const float* next = source(s) + begin;
      for (std::int64_t i = 0; i < n; ++i) sums[i] += next[i];
    }
    std::copy_n(sums, n, out + begin);
  }
}

}  // namespace tandem
