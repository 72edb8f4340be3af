#include "device/cuda/matmul/fragment_matmul.h"

#include <vector>

#include "base/check.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/matmul/products.h"

namespace tandem::cuda {

Status fragment_matmul(CudaContext& context, MatrixView x, std::span<const MatmulTarget> targets) {
  std::vector<ViewTarget> views;
  for (const MatmulTarget& target : targets) {
    views.push_back({view_of(*target.weight), target.bias, target.y});
  }
  TANDEM_TRY(void* scratch, context.scratch.take(products_scratch_bytes(x.rows, x.columns, views)));
  return status_of(products(context.stream, x, views, scratch), "cannot start a matrix product");
}

Status fragment_expert_matmul(CudaContext& context, const ExpertMatmulArgs& args) {
  std::vector<ViewTarget> views;
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
  TANDEM_TRY(void* scratch, context.scratch.take(expert_products_scratch_bytes(products)));
  return status_of(expert_products(context.stream, products, scratch),
                   "cannot start a product of experts");
}

}  // namespace tandem::cuda
