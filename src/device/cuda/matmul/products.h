#pragma once

#include <cstdint>
#include <span>

#include "device/cuda/cuda_weight.h"
#include "device/cuda/matmul/product_batch.h"

namespace tandem::cuda {

// One result: of a weight in fragments, or of F32 in the rows of the file.
struct ViewTarget {
  WeightView weight;
  const float* bias = nullptr;  // [rows] in device memory, or null
  MatrixView y;
};

// Device memory that products of x with these weights need: rounded rows in each form that a weight
// wants. 256-byte aligned; free once the stream has passed the products.
std::int64_t products_scratch_bytes(std::int64_t x_rows, std::int64_t columns,
                                    std::span<const ViewTarget> targets);

// y = x * weight^T (+ bias) for each target, with x rounded once for each form. Weights of one type
// and shape of column are one launch. Stream-ordered; the result is that of the starts.
cudaError_t products(cudaStream_t stream, MatrixView x, std::span<const ViewTarget> targets,
                     void* scratch);

// As ExpertMatmulArgs: y[pair] = x[pair / (top_k or 1)] * experts[expert_ids[pair] -
// first_expert]^T.
struct ExpertProducts {
  MatrixView x;  // [num_pairs / x_divisor, columns]
  std::span<const ViewTarget> targets;
  const std::int32_t* expert_ids = nullptr;  // [num_pairs], device memory
  std::int32_t num_pairs = 0;
  std::int32_t x_divisor = 1;
  std::int32_t first_expert = 0;
};
std::int64_t expert_products_scratch_bytes(const ExpertProducts& args);
cudaError_t expert_products(cudaStream_t stream, const ExpertProducts& args, void* scratch);

}  // namespace tandem::cuda
