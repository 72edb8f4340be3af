#pragma once

#include <span>

#include "device/cuda/cuda_context.h"
#include "device/cuda/cuda_weight.h"
#include "device/ops.h"

namespace tandem::cuda {

// Ops::matmul and Ops::expert_matmul for weights that were loaded for Arithmetic::kInt8.
Status fragment_matmul(CudaContext& context, MatrixView x, std::span<const MatmulTarget> targets);
Status fragment_expert_matmul(CudaContext& context, const ExpertMatmulArgs& args);

}  // namespace tandem::cuda
