#pragma once

#include <functional>
#include <string>

#include "machine/cuda_card.h"

namespace tandem {

// What trying a pair of cards showed. Addresses name them: CUDA and NVML may count differently.
struct PeerTrial {
  PciAddress a;
  PciAddress b;
  bool granted = false;    // the driver's word, both ways
  bool copied = false;     // a pattern arrived whole, both ways
  bool summed = false;     // the sums of a reduction are right on both cards
  double gbps = 0;         // of the copy, the slower direction
  std::string failure;     // the step that went wrong and how; empty: none
  std::string not_summed;  // why the reduction was not tried; empty: it was
};

struct LadderSizes {
  std::size_t copy_bytes = 64u << 20;
  unsigned sum_values = 4u << 20;  // float32; three such vectors lie on each card

  std::size_t bytes_per_card() const;
};

// Climbs as far as it goes: the driver's grant -> a copy verified byte by byte both ways -> a
// reduction (reduce-scatter and all-gather of one vector a card, by loads and stores across the
// link where access is granted, else by copies through host memory) whose sums are checked bit by
// bit on both cards. `on_step` hears what is tried next. Blocks about 0.3 s.
PeerTrial climb_peer_ladder(const CudaDriver& cuda, const CudaCard& a, const CudaCard& b,
                            const LadderSizes& sizes,
                            const std::function<void(const std::string&)>& on_step);

}  // namespace tandem
