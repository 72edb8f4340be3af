#pragma once

#include "device/cuda/cuda_api.h"
#include "device/cuda/matmul/rounded_x.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops says; stream-ordered. The result is that of the start.
cudaError_t rms_norm_heads(cudaStream_t stream, MatrixView x, std::int32_t head_dim,
                           const float* weight, float eps);

// Ops::add_norm, and out rounded to RoundedForm::kInt8 where `rounded` is not null: what every
// layer input goes through, in one pass over x. Without a residual out may be x; out without data
// is not written. A row's bits are the same in all of these forms. Up to kMostRoundedColumns
// columns; wider ones cannot be rounded here.
inline constexpr std::int64_t kMostRoundedColumns = 16384;
cudaError_t add_norm(cudaStream_t stream, const NormArgs& args, const RoundedX* rounded = nullptr);

}  // namespace tandem::cuda
