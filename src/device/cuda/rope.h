#pragma once

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops says; stream-ordered. The result is that of the start.
cudaError_t rope(cudaStream_t stream, const RopeArgs& args);

}  // namespace tandem::cuda
