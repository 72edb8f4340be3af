#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// Memory of one GPU beside its rank's arena, which is for what the plan reckons with. Grows on
// demand; what was given out before stays, as work that is enqueued, and graphs, go on using it.
class GpuFloats {
 public:
  GpuFloats() = default;
  ~GpuFloats();
  GpuFloats(const GpuFloats&) = delete;
  GpuFloats& operator=(const GpuFloats&) = delete;

  // Room for `count` numbers, on the thread's GPU where there was less. kOutOfMemory.
  Result<float*> at_least(std::int64_t count);

 private:
  std::vector<float*> pieces_;  // the last one is in use
  std::int64_t count_ = 0;      // its numbers
};

}  // namespace tandem::cuda
