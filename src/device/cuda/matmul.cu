#include "device/cuda/matmul.h"

#include "base/check.h"
#include "device/cuda/block_values.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/cuda_weight.h"
#include "device/cuda/elementwise.h"
#include "device/cuda/grid.h"
#include "device/cuda/matmul/fragment_matmul.h"
#include "device/cuda/norm.h"

namespace tandem::cuda {
namespace {

// The product of Arithmetic::kFloat, which the fast ones (matmul/) are held to: one warp makes one
// output feature of up to kTokens tokens, in float32. A lane adds the columns of its number, 32
// apart, in order; then the lanes are added. An output's bits depend on its row of x and of the
// weight alone.
constexpr int kTokens = 8;
constexpr int kWarpsPerBlock = 4;

// Adds row . x[t] to sums[t] for the tokens at `rows_of_x`.
template <ElementType kType>
__device__ void dot_rows(const std::uint8_t* row, std::int64_t columns,
                         const float* const (&x)[kTokens], int num_tokens, float (&sums)[kTokens]) {
  for (std::int64_t column = threadIdx.x; column < columns; column += kWarp) {
    const float weight = BlockValues<kType>::at(row, column);
    for (int t = 0; t < num_tokens; ++t) sums[t] += weight * x[t][column];
  }
}

// Block: 32 x kWarpsPerBlock threads. Grid: output features / kWarpsPerBlock, groups of tokens.
template <ElementType kType>
__global__ void matmul_kernel(MatrixView x, WeightView weight, const float* bias, MatrixView y) {
  const std::int64_t feature = std::int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.y;
  if (feature >= weight.rows) return;
  const auto* row = reinterpret_cast<const std::uint8_t*>(weight.data) + feature * weight.row_bytes;
  for (std::int64_t first = std::int64_t{blockIdx.y} * kTokens; first < x.rows;
       first += std::int64_t{gridDim.y} * kTokens) {
    const int count = static_cast<int>(min(x.rows - first, std::int64_t{kTokens}));
    const float* rows_of_x[kTokens];
    float sums[kTokens] = {};
    for (int t = 0; t < kTokens; ++t) rows_of_x[t] = row_of(x, first + (t < count ? t : 0));
    dot_rows<kType>(row, weight.columns, rows_of_x, count, sums);
    for (int t = 0; t < count; ++t) {
      const float sum = warp_sum(sums[t]);
      if (threadIdx.x == 0) {
        row_of(y, first + t)[feature] = sum + (bias != nullptr ? bias[feature] : 0.0f);
      }
    }
  }
}

struct ExpertCall {
  MatrixView x;
  MatrixView y;
  WeightView experts;
  const std::int32_t* expert_ids;
  std::int32_t top_k;
  std::int32_t first_expert;
  bool row_a_pair;  // x has a row for every (token, choice)
};

// Grid: output features / kWarpsPerBlock, (token, choice) pairs.
template <ElementType kType>
__global__ void expert_kernel(ExpertCall call) {
  const std::int64_t feature = std::int64_t{blockIdx.x} * kWarpsPerBlock + threadIdx.y;
  if (feature >= call.experts.rows) return;
  for (std::int64_t pair = blockIdx.y; pair < call.y.rows; pair += gridDim.y) {
    const std::int64_t expert = call.expert_ids[pair] - call.first_expert;
    float sums[kTokens] = {};
    if (expert >= 0 && expert < call.experts.num_experts) {
      const auto* row = reinterpret_cast<const std::uint8_t*>(call.experts.data) +
                        expert * call.experts.expert_bytes + feature * call.experts.row_bytes;
      const float* rows_of_x[kTokens];
      for (auto& each : rows_of_x)
        each = row_of(call.x, call.row_a_pair ? pair : pair / call.top_k);
      dot_rows<kType>(row, call.experts.columns, rows_of_x, 1, sums);
    }
    const float sum = warp_sum(sums[0]);
    if (threadIdx.x == 0) row_of(call.y, pair)[feature] = sum;
  }
}

LaunchShape shape_of(std::int64_t features, std::int64_t lines) {
  const auto blocks = static_cast<unsigned>((features + kWarpsPerBlock - 1) / kWarpsPerBlock);
  return {dim3(blocks, static_cast<unsigned>(std::min(lines, kMaxGridRows))),
          dim3(kWarp, kWarpsPerBlock), 0};
}

}  // namespace

Status matmul(CudaContext& context, MatrixView x, std::span<const MatmulTarget> targets) {
  if (context.arithmetic == Arithmetic::kInt8) return fragment_matmul(context, x, targets);
  for (const MatmulTarget& target : targets) {
    const WeightView& weight = view_of(*target.weight);
    TANDEM_CHECK(
        weight.columns == x.columns && weight.rows == target.y.columns && target.y.rows == x.rows,
        "x, weight and y agree");
    if (x.rows == 0 || weight.rows == 0) continue;
    cudaError_t error = cudaSuccess;
    with_weight_type(weight.type, [&]<ElementType kType>() {
      error = launch(context.stream, matmul_kernel<kType>,
                     shape_of(weight.rows, (x.rows + kTokens - 1) / kTokens), x, weight,
                     target.bias, target.y);
    });
    TANDEM_CUDA_TRY(error, "cannot start a matrix product");
  }
  return {};
}

Status expert_matmul(CudaContext& context, const ExpertMatmulArgs& args) {
  if (context.arithmetic == Arithmetic::kInt8) return fragment_expert_matmul(context, args);
  for (const ExpertMatmulTarget& target : args.targets) {
    const WeightView& experts = view_of(*target.experts);
    const std::int64_t pairs = std::int64_t{args.num_tokens} * args.top_k;
    TANDEM_CHECK(target.y.rows == pairs && target.y.columns == experts.rows &&
                     args.x.columns == experts.columns,
                 "x, experts and y agree");
    if (pairs == 0 || experts.rows == 0) continue;
    const ExpertCall call{args.x,
                          target.y,
                          experts,
                          args.expert_ids,
                          args.top_k,
                          args.first_expert,
                          args.x.rows == pairs && args.top_k > 1};
    cudaError_t error = cudaSuccess;
    with_weight_type(experts.type, [&]<ElementType kType>() {
      error = launch(context.stream, expert_kernel<kType>, shape_of(experts.rows, pairs), call);
    });
    TANDEM_CUDA_TRY(error, "cannot start an expert product");
  }
  return {};
}

Status norm_matmul(CudaContext& context, const NormArgs& norm,
                   std::span<const MatmulTarget> targets) {
  if (context.arithmetic == Arithmetic::kInt8) return fragment_norm_matmul(context, norm, targets);
  TANDEM_CUDA_TRY(add_norm(context.stream, norm), "cannot start a norm");
  return matmul(context, norm.out, targets);
}

Status norm_gated_matmul(CudaContext& context, const NormArgs& norm, GateKind kind,
                         const MatmulTarget& gate, const MatmulTarget& up) {
  if (context.arithmetic == Arithmetic::kInt8) {
    return fragment_norm_gated_matmul(context, norm, kind, gate, up);
  }
  const MatmulTarget targets[] = {gate, up};
  TANDEM_TRY_STATUS(norm_matmul(context, norm, targets));
  return status_of(gated_activation(context.stream, kind, gate.y, up.y),
                   "cannot start an activation");
}

Status gated_expert_matmul(CudaContext& context, GateKind kind, const ExpertMatmulArgs& args) {
  if (context.arithmetic == Arithmetic::kInt8) {
    return fragment_gated_expert_matmul(context, kind, args);
  }
  TANDEM_TRY_STATUS(expert_matmul(context, args));
  return status_of(gated_activation(context.stream, kind, args.targets[0].y, args.targets[1].y),
                   "cannot start an activation");
}

}  // namespace tandem::cuda
