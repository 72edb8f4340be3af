#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace tandem::cuda {

// Lets every GPU of `gpus` (CUDA's numbers; some may be the same) write into the memory of every
// other, and looks at what arrives there: by stores of a kernel and by its copy engine. What is
// found against a pair, in words ("GPU 0 cannot reach the memory of GPU 1"); empty: all pairs may
// be trusted. Blocks, with a deadline for each pair. Errors are those of the GPUs themselves.
Result<std::vector<std::string>> find_peer_faults(const std::vector<int>& gpus);

}  // namespace tandem::cuda
