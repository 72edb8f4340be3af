#pragma once

#include <memory>
#include <span>

#include "base/result.h"
#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// A library that reduces large messages in the place of the ring; see comm/nccl/.
class LargeReduce {
 public:
  virtual ~LargeReduce() = default;
  // As Communicator::all_reduce_sum(), for `rank`; x is dense. Stream-ordered.
  virtual Status all_reduce_sum(int rank, cudaStream_t stream, const MatrixView& x) = 0;
  // Ends what is under way on every rank; unusable from then on. Any thread, does not block.
  virtual void abort() = 0;
};

}  // namespace tandem::cuda
