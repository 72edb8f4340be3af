#pragma once

#include <cstdint>
#include <span>

#include "device/cuda/cuda_weight.h"
#include "device/cuda/matmul/product_batch.h"

namespace tandem::cuda {

// From this many rows of x on, products are bound by arithmetic and take tiles of kManyRows of
// them: below, too few blocks of threads would have work (a matrix of 4096 rows has 32 blocks a
// tile). The bits of a row of y depend on which side of it x.rows is, and on nothing else of
// x.rows.
inline constexpr std::int64_t kManyFrom = 129;

// One result: of a weight in fragments, or of F32 in the rows of the file.
struct ViewTarget {
  WeightView weight;
  const float* bias = nullptr;  // [rows] in device memory, or null
  MatrixView y;
};

// The left side of products.
struct ProductInput {
  MatrixView x;
  // x rounded to RoundedForm::kInt8, where that is done; its floats are read for targets of other
  // forms alone.
  const RoundedX* int8 = nullptr;
};

// Do some of the targets read x itself, or round it to halves?
bool reads_floats(std::span<const ViewTarget> targets);
// Do some of them read x rounded to RoundedForm::kInt8?
bool reads_int8(std::span<const ViewTarget> targets);

// Device memory that products of x with these weights need: rounded rows in each form that a weight
// wants and that is not there. 256-byte aligned; free once the stream has passed the products.
std::int64_t products_scratch_bytes(const ProductInput& input, std::span<const ViewTarget> targets);

// y = x * weight^T (+ bias) for each target, with x rounded once for each form. Weights of one type
// and shape of column are one launch. Stream-ordered; the result is that of the starts.
cudaError_t products(cudaStream_t stream, const ProductInput& input,
                     std::span<const ViewTarget> targets, void* scratch);

// Can gated_products() take these? Few rows of x, and gate and up of one type and shape.
bool has_gated_products(std::int64_t x_rows, const ViewTarget& gate, const ViewTarget& up);
// gate.y = f(x * gate^T) * (x * up^T), in one launch; scratch as for products() of both.
cudaError_t gated_products(cudaStream_t stream, const ProductInput& input, GateKind kind,
                           const ViewTarget& gate, const ViewTarget& up, void* scratch);

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

// The same for two targets, gate and up: gate.y = f(gate.y) * up.y, in one launch, where
// has_gated_expert_products(): few pairs.
bool has_gated_expert_products(const ExpertProducts& args);
cudaError_t gated_expert_products(cudaStream_t stream, const ExpertProducts& args, GateKind kind,
                                  void* scratch);

}  // namespace tandem::cuda
