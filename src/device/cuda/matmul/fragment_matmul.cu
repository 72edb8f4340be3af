#include "device/cuda/matmul/fragment_matmul.h"

#include <vector>

#include "base/check.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/elementwise.h"
#include "device/cuda/matmul/products.h"
#include "device/cuda/norm.h"

namespace tandem::cuda {
namespace {

constexpr const char* kWhat = "cannot start a matrix product";

using Views = std::vector<ViewTarget>;

Views views_of(std::span<const MatmulTarget> targets) {
  Views views;
  for (const MatmulTarget& target : targets) {
    views.push_back({view_of(*target.weight), target.bias, target.y});
  }
  return views;
}

// The normed rows, rounded while they are at hand; as floats only where a target wants those.
Result<ProductInput> norm_input(CudaContext& context, const NormArgs& norm, const Views& views,
                                RoundedX& rounded) {
  const MatrixView& x = norm.out;
  if (!reads_int8(views) || x.columns > kMostRoundedColumns) {
    TANDEM_CUDA_TRY(add_norm(context.stream, norm), "cannot start a norm");
    return ProductInput{x};
  }
  TANDEM_TRY(void* memory,
             context.scratch.take(rounded_bytes(RoundedForm::kInt8, x.rows, x.columns)));
  rounded = rounded_at(RoundedForm::kInt8, x.rows, x.columns, memory);
  NormArgs args = norm;
  if (!reads_floats(views)) args.out.data = nullptr;
  TANDEM_CUDA_TRY(add_norm(context.stream, args, &rounded), "cannot start a norm");
  return ProductInput{x, &rounded};
}

Status start_products(CudaContext& context, const ProductInput& input, const Views& views) {
  TANDEM_TRY(void* scratch, context.scratch.take(products_scratch_bytes(input, views)));
  return status_of(products(context.stream, input, views, scratch), kWhat);
}

ExpertProducts expert_products_of(const ExpertMatmulArgs& args, Views& views) {
  for (const ExpertMatmulTarget& target : args.targets) {
    views.push_back({view_of(*target.experts), nullptr, target.y});
  }
  ExpertProducts products;
  products.x = args.x;
  products.targets = views;
  products.expert_ids = args.expert_ids;
  products.num_pairs = args.num_tokens * args.top_k;
  TANDEM_CHECK(args.x.rows == args.num_tokens || args.x.rows == products.num_pairs,
               "x has one row a token, or one a pair");
  products.x_divisor = args.x.rows == products.num_pairs ? 1 : args.top_k;
  products.first_expert = args.first_expert;
  return products;
}

}  // namespace

Status fragment_matmul(CudaContext& context, MatrixView x, std::span<const MatmulTarget> targets) {
  return start_products(context, {x}, views_of(targets));
}

Status fragment_norm_matmul(CudaContext& context, const NormArgs& norm,
                            std::span<const MatmulTarget> targets) {
  const Views views = views_of(targets);
  RoundedX rounded;
  TANDEM_TRY(const ProductInput input, norm_input(context, norm, views, rounded));
  return start_products(context, input, views);
}

Status fragment_norm_gated_matmul(CudaContext& context, const NormArgs& norm, GateKind kind,
                                  const MatmulTarget& gate, const MatmulTarget& up) {
  const MatmulTarget targets[] = {gate, up};
  const Views views = views_of(targets);
  RoundedX rounded;
  TANDEM_TRY(const ProductInput input, norm_input(context, norm, views, rounded));
  if (!has_gated_products(norm.x.rows, views[0], views[1])) {
    TANDEM_TRY_STATUS(start_products(context, input, views));
    return status_of(gated_activation(context.stream, kind, gate.y, up.y),
                     "cannot start an activation");
  }
  TANDEM_TRY(void* scratch, context.scratch.take(products_scratch_bytes(input, views)));
  return status_of(gated_products(context.stream, input, kind, views[0], views[1], scratch), kWhat);
}

Status fragment_expert_matmul(CudaContext& context, const ExpertMatmulArgs& args) {
  Views views;
  const ExpertProducts products = expert_products_of(args, views);
  TANDEM_TRY(void* scratch, context.scratch.take(expert_products_scratch_bytes(products)));
  return status_of(expert_products(context.stream, products, scratch),
                   "cannot start a product of experts");
}

Status fragment_gated_expert_matmul(CudaContext& context, GateKind kind,
                                    const ExpertMatmulArgs& args) {
  Views views;
  const ExpertProducts products = expert_products_of(args, views);
  if (!has_gated_expert_products(products)) {
    TANDEM_TRY_STATUS(fragment_expert_matmul(context, args));
    return status_of(gated_activation(context.stream, kind, args.targets[0].y, args.targets[1].y),
                     "cannot start an activation");
  }
  TANDEM_TRY(void* scratch, context.scratch.take(expert_products_scratch_bytes(products)));
  return status_of(gated_expert_products(context.stream, products, kind, scratch),
                   "cannot start a product of experts");
}

}  // namespace tandem::cuda
