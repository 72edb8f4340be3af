#pragma once

#include <span>

#include "device/cuda/cuda_context.h"
#include "device/cuda/cuda_weight.h"
#include "device/ops.h"

namespace tandem::cuda {

// Do these kernels read the weight?
bool reads_fragments(const WeightView& weight);

// Ops::matmul and Ops::expert_matmul for weights that reads_fragments() accepts.
Status fragment_matmul(CudaContext& context, MatrixView x, std::span<const MatmulTarget> targets);
Status fragment_expert_matmul(CudaContext& context, const ExpertMatmulArgs& args);

}  // namespace tandem::cuda
