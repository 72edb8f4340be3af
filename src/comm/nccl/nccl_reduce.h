#pragma once

#include <memory>
#include <vector>

#include "comm/cuda/large_reduce.h"

namespace tandem::cuda {

// NCCL's all-reduce over GPUs of this process, no two the same; null where this build or this
// machine has no NCCL, which is no error: the ring does the same. Blocks while NCCL connects them.
std::shared_ptr<LargeReduce> create_nccl_reduce(const std::vector<int>& gpus);

}  // namespace tandem::cuda
