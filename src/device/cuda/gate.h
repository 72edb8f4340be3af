#pragma once

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

__device__ inline float silu(float x) {
  return x / (1.0f + expf(-x));
}

// The tanh form, as GELU models are trained with. (1 + tanh(y)) / 2 is 1 / (1 + exp(-2 y)); written
// with tanh, far to the left of zero nothing would be left of the sum's digits.
__device__ inline float gelu(float x) {
  const float twice_inner = 2.0f * 0.79788456080286535588f * (x + 0.044715f * x * x * x);
  return x / (1.0f + expf(-twice_inner));
}

// f(gate) * up, the same bits wherever it is computed.
__device__ inline float gated(GateKind kind, float gate, float up) {
  const float activated = kind == GateKind::kSilu ? silu(gate) : gelu(gate);
  return activated * up;
}

}  // namespace tandem::cuda
