#pragma once

#include <vector>

#include "plan/search.h"

namespace tandem {

// What a stage's devices may hold, and what holding costs, as the search sees it.
struct MemoryModel {
  std::vector<double> capacity;  // bytes a device; infinite where it is not known
  double kv_tokens = 0;          // positions that the cache holds, over all sequences
  double fixed_bytes = 0;        // compute buffers, on every device

  double need(const ModelCosts& model, std::int32_t first, std::int32_t count, bool last) const;
};

// Ordered groups of devices: the stages of a division.
using Grouping = std::vector<std::vector<std::size_t>>;

// The groupings that search_plans enumerates (see there), without repetition: devices of one kind
// are interchangeable. `order`: GPUs, or CPU devices where there are no GPUs; `host`: the device
// that takes the layers which the others do not hold, or -1.
std::vector<Grouping> groupings_of(const Bench& bench, const std::vector<double>& speeds,
                                   const std::vector<double>& capacities,
                                   const std::vector<std::size_t>& devices,
                                   const SearchRequest& request);

// How experts may be divided among the devices of a group.
enum class ExpertSplit : std::uint8_t { kByWidth, kByExpert, kEither };

// Shares and layers for a grouping, to start from: up to four sketches, twice where experts may be
// divided either way.
std::vector<Sketch> sketches_of(const ModelCosts& model, const Bench& bench,
                                const std::vector<double>& speeds, const MemoryModel& memory,
                                const Grouping& grouping, ExpertSplit experts);

// Does every device hold its part? By sums of bytes; lay_out() decides exactly.
bool fits_roughly(const ModelCosts& model, const MemoryModel& memory, const Sketch& sketch);

}  // namespace tandem
