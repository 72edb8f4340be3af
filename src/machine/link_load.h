#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/cuda_driver.h"
#include "machine/pci_device.h"

namespace tandem {

// What copying between two cards showed. Addresses name them: CUDA and NVML may count differently.
struct PeerTrial {
  PciAddress a;
  PciAddress b;
  bool granted = false;        // the driver's word, both ways
  bool bytes_correct = false;  // a pattern arrived whole, both ways
  double gbps = 0;             // the slower direction
  std::string failure;         // why a trial ended early; else empty
};

struct LoadResult {
  std::vector<PeerTrial> trials;
};

// Puts copies from host memory on every card's link at once, calls `while_busy`, then tries every
// pair: grant, then a copy verified byte by byte both ways, timed. Uses 64 MiB on each card.
// Blocks for about a second, plus 0.1 s a pair. Error: a card refuses memory or copies.
Result<LoadResult> load_links(const CudaDriver& cuda, const std::function<void()>& while_busy);

}  // namespace tandem
