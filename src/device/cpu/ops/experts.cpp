#include <algorithm>

#include "base/check.h"
#include "base/checked.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {
namespace {

// Moves the best of what is left to the front, `top_k` times; ties to the lower id.
void choose(float* probabilities, const RouteArgs& args, std::int64_t token) {
  std::int32_t* ids = args.expert_ids + token * args.top_k;
  float* weights = args.weights + token * args.top_k;
  float total = 0;
  for (std::int32_t j = 0; j < args.top_k; ++j) {
    float* best = std::max_element(probabilities, probabilities + args.logits.columns);
    ids[j] = static_cast<std::int32_t>(best - probabilities);
    weights[j] = *best;
    total += *best;
    *best = -1.0f;  // less than any probability: not chosen again
  }
  const float factor = args.weight_scale * (args.normalise ? 1.0f / total : 1.0f);
  for (std::int32_t j = 0; j < args.top_k; ++j) weights[j] *= factor;
}

}  // namespace

void route_experts(CpuContext& context, const RouteArgs& args) {
  const MatrixView& logits = args.logits;
  if (logits.rows == 0 || args.top_k == 0) return;
  TANDEM_CHECK(args.top_k > 0 && args.top_k <= logits.columns, "no more choices than experts");
  const std::int64_t part_floats = align_up<std::int64_t>(logits.columns, 16);
  float* scratch = context.scratch_floats(part_floats * context.pool.size());
  for_parts(context, logits.rows, logits.columns * (args.top_k + 8),
            [&](int part, std::int64_t begin, std::int64_t end) {
              float* probabilities = scratch + part * part_floats;
              for (std::int64_t i = begin; i < end; ++i) {
                context.kernels.softmax(logits.row(i), logits.columns, probabilities);
                choose(probabilities, args, i);
              }
            });
}

void combine_experts(CpuContext& context, MatrixView y, const float* weights, std::int32_t top_k,
                     MatrixView out) {
  TANDEM_CHECK(y.rows == out.rows * top_k && y.columns == out.columns, "top_k rows a token");
  if (out.columns == 0) return;
  for_range(context, out.rows, out.columns * top_k, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::fill_n(out.row(i), out.columns, 0.0f);
      for (std::int32_t j = 0; j < top_k; ++j) {
        context.kernels.add_scaled(out.row(i), y.row(i * top_k + j), weights[i * top_k + j],
                                   out.columns);
      }
    }
  });
}

}  // namespace tandem::cpu_ops
