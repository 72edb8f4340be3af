#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "machine/machine.h"

namespace tandem {

// Most GPUs that a written machine may have.
inline constexpr int kMaxWrittenGpus = 64;

// What can be said of a machine that nobody need own.
struct WrittenMachine {
  std::vector<std::string> gpus;  // each "2x RTX 3090" or "RTX 4090 + 2x RTX 3090"
  std::string link;       // between all pairs: "pcie4x8", "nvlink3"; empty: what the cards have
  bool with_host = true;  // the host's processor and memory as a device for offload
};

// The machine of GPUs from the catalogue, ids "cuda:0", ... in the order written. Cards that are
// sold with NVLink inside (SXM) have it; others have it only where `link` says so; peer access over
// PCIe as the catalogue has it. With with_host, a device "cpu" stands last: 64 GiB, 60 GB/s, an
// assumption that plans say aloud. kNotFound names the nearest GPUs; kInvalidArgument for counts
// outside 1 to 64.
Result<Machine> machine_from_text(const WrittenMachine& written);

}  // namespace tandem
