#include "comm/nccl/nccl_reduce.h"

namespace tandem::cuda {

// Linked where the build found no nccl.h.
std::shared_ptr<LargeReduce> create_nccl_reduce(const std::vector<int>&) {
  return nullptr;
}

}  // namespace tandem::cuda
