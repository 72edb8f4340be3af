#pragma once

#include <span>

#include "device/cuda/cuda_context.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops says. Weights are those of a CUDA device, loaded for the context's arithmetic.
Status matmul(CudaContext& context, MatrixView x, std::span<const MatmulTarget> targets);
Status norm_matmul(CudaContext& context, const NormArgs& norm,
                   std::span<const MatmulTarget> targets);
Status norm_gated_matmul(CudaContext& context, const NormArgs& norm, GateKind kind,
                         const MatmulTarget& gate, const MatmulTarget& up);
Status expert_matmul(CudaContext& context, const ExpertMatmulArgs& args);
Status gated_expert_matmul(CudaContext& context, GateKind kind, const ExpertMatmulArgs& args);

}  // namespace tandem::cuda
