#pragma once

#include <span>

#include "device/cuda/cuda_context.h"
#include "device/cuda/cuda_weight.h"
#include "device/ops.h"

namespace tandem::cuda {

// The products of Ops for weights that were loaded for Arithmetic::kInt8.
Status fragment_matmul(CudaContext& context, MatrixView x, std::span<const MatmulTarget> targets);
Status fragment_norm_matmul(CudaContext& context, const NormArgs& norm,
                            std::span<const MatmulTarget> targets);
Status fragment_norm_gated_matmul(CudaContext& context, const NormArgs& norm, GateKind kind,
                                  const MatmulTarget& gate, const MatmulTarget& up);
Status fragment_expert_matmul(CudaContext& context, const ExpertMatmulArgs& args);
Status fragment_gated_expert_matmul(CudaContext& context, GateKind kind,
                                    const ExpertMatmulArgs& args);

}  // namespace tandem::cuda
