#include "nn/layers.h"

namespace tandem {
namespace {

GateKind gate_kind_of(const ModelSpec& spec) {
  return spec.feed_forward.gelu ? GateKind::kGeluTanh : GateKind::kSilu;
}

// partial = down(act(gate(x)) * up(x)), over this rank's columns of the width, reduced.
Status run_dense(LayerContext& context, const LayerParameters& layer, MatrixView partial) {
  const Activations& act = context.activations;
  const ActivationSizes& sizes = act.sizes();
  const MatrixView padded = act.gate(partial.rows);
  const MatrixView gated = padded.slice_columns(sizes.gate_pad, sizes.ffn);
  const auto widen = [&](std::int64_t first, const NormArgs& norm) {
    const std::int64_t count = norm.x.rows;
    const MatmulTarget gate{layer.gate.get(), nullptr, gated.slice_rows(first, count)};
    const MatmulTarget up{layer.up.get(), nullptr, act.up(partial.rows).slice_rows(first, count)};
    context.stream.norm_gated_matmul(norm, gate_kind_of(context.spec), gate, up);
  };
  TANDEM_TRY_STATUS(for_normed_rows(context, layer.ffn_norm.data(), widen));
  const MatrixView wide =
      row_parallel_input(padded, sizes.gate_pad, *layer.down, context.shard.ffn.begin);
  return multiply_and_reduce(context, wide, *layer.down, partial, layer.post_ffn_norm.data());
}

// The same for each token's chosen experts, weighted. Every rank routes alike: the router is
// replicated, and so are its input's bits. Reduced as a whole: how experts' products are tiled, and
// with it their bits, depends on how many tokens there are.
Status run_experts(LayerContext& context, const LayerParameters& layer, MatrixView partial) {
  const Activations& act = context.activations;
  TANDEM_TRY_STATUS(
      for_normed_rows(context, layer.ffn_norm.data(),
                      [&](std::int64_t, const NormArgs& norm) { context.stream.add_norm(norm); }));
  const MatrixView x = act.normed(partial.rows);
  const ActivationSizes& sizes = act.sizes();
  const FeedForwardSpec& ffn = context.spec.feed_forward;
  const MatrixView logits = act.router_logits(x.rows);
  const MatmulTarget router{layer.router.get(), nullptr, logits};
  context.stream.matmul(x, {&router, 1});
  RouteArgs route;
  route.logits = logits;
  route.top_k = ffn.num_experts_used;
  route.normalise = ffn.normalise_expert_weights;
  route.expert_ids = act.expert_ids();
  route.weights = act.expert_weights();
  context.stream.route_experts(route);

  const std::int64_t pairs = x.rows * ffn.num_experts_used;
  const MatrixView padded = act.gate(pairs);
  const MatrixView gate = padded.slice_columns(sizes.gate_pad, sizes.ffn);
  const MatrixView up = act.up(pairs);
  ExpertMatmulArgs args;
  args.expert_ids = act.expert_ids();
  args.num_tokens = static_cast<std::int32_t>(x.rows);
  args.top_k = ffn.num_experts_used;
  args.first_expert = static_cast<std::int32_t>(context.shard.experts.begin);
  const ExpertMatmulTarget inputs[] = {{layer.gate.get(), gate}, {layer.up.get(), up}};
  args.x = x;
  args.targets = inputs;
  context.stream.gated_expert_matmul(gate_kind_of(context.spec), args);
  const ExpertMatmulTarget output{layer.down.get(), act.expert_out(pairs)};
  args.x = row_parallel_input(padded, sizes.gate_pad, *layer.down, context.shard.ffn.begin);
  args.targets = {&output, 1};
  context.stream.expert_matmul(args);
  context.stream.combine_experts(act.expert_out(pairs), act.expert_weights(), ffn.num_experts_used,
                                 partial);
  return leave_reduced(context, partial, layer.post_ffn_norm.data());
}

}  // namespace

Status run_feed_forward(LayerContext& context, std::int32_t layer_index) {
  const LayerParameters& layer = context.parameters.layers[static_cast<std::size_t>(layer_index)];
  const Activations& act = context.activations;
  const std::int64_t tokens = context.batch.num_tokens();
  const MatrixView partial = act.partial(tokens);
  const bool has_experts = context.spec.feed_forward.num_experts > 0;
  if (layer.down == nullptr) {  // a rank without columns or experts
    TANDEM_TRY_STATUS(settle(context));
    if (!has_experts) return reduce_nothing(context, partial, layer.post_ffn_norm.data());
    context.stream.fill_zero(partial.data, partial.rows * partial.columns * 4);
    return leave_reduced(context, partial, layer.post_ffn_norm.data());
  }
  return has_experts ? run_experts(context, layer, partial) : run_dense(context, layer, partial);
}

}  // namespace tandem
