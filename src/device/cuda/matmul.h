#pragma once

#include <span>

#include "device/cuda/cuda_context.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops says. Weights are those of a CUDA device, loaded for the context's arithmetic.
Status matmul(CudaContext& context, MatrixView x, std::span<const MatmulTarget> targets);
Status expert_matmul(CudaContext& context, const ExpertMatmulArgs& args);

}  // namespace tandem::cuda
