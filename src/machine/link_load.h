#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/cuda_driver.h"
#include "machine/peer_ladder.h"

namespace tandem {

struct LoadOptions {
  LadderSizes sizes;
  double open_seconds = 60;  // a driver that wakes eight cards takes many of them
  double step_seconds = 10;  // a step takes far under one
};

struct LoadResult {
  std::vector<PeerTrial> trials;
  std::string cut_short;  // why not every pair was tried; empty: all were
};

// Puts copies from host memory on every card's link at once, calls `while_busy`, then tries every
// pair (climb_peer_ladder). All of it runs in a child process, because copies between cards are
// known to hang or crash on machines that are set up wrong: then the pair that was tried last has
// failed, and the caller goes on. Blocks about a second and 0.3 s a pair, or until a deadline.
// Error: the driver does not start, or a card refuses memory.
Result<LoadResult> load_links(const CudaDriver& cuda, const std::function<void()>& while_busy,
                              const LoadOptions& options = {});

}  // namespace tandem
