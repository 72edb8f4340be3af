#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "simt/block.h"

namespace simt {

struct Thread;

// The lanes that take part in one mask's operations. A lane may be ahead of others by at most one
// operation, so that two sets of slots suffice.
struct LaneGroup {
  std::uint32_t mask = 0;
  std::uint32_t arrived = 0;
  unsigned round = 0;
  const char* name = nullptr;
  WarpSlots slots[2];
  std::vector<Thread*> waiting;
};

struct Warp {
  std::uint32_t lanes = 0;       // that exist
  std::deque<LaneGroup> groups;  // of every mask seen so far; references stay valid

  void reset() {
    lanes = 0;
    for (LaneGroup& group : groups) {
      group.arrived = 0;
      group.waiting.clear();
    }
  }
  LaneGroup& group_of(std::uint32_t mask) {
    for (LaneGroup& group : groups) {
      if (group.mask == mask) return group;
    }
    groups.emplace_back();
    groups.back().mask = mask;
    return groups.back();
  }
};

}  // namespace simt
