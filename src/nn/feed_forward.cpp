#include "nn/layers.h"

namespace tandem {
namespace {

GateKind gate_kind_of(const ModelSpec& spec) {
  return spec.feed_forward.gelu ? GateKind::kGeluTanh : GateKind::kSilu;
}

// partial = down(act(gate(x)) * up(x)), over this rank's columns of the width.
void run_dense(LayerContext& context, const LayerParameters& layer, MatrixView partial) {
  const Activations& act = context.activations;
  const ActivationSizes& sizes = act.sizes();
  const MatrixView padded = act.gate(partial.rows);
  const MatmulTarget gate{layer.gate.get(), nullptr,
                          padded.slice_columns(sizes.gate_pad, sizes.ffn)};
  const MatmulTarget up{layer.up.get(), nullptr, act.up(partial.rows)};
  context.stream.norm_gated_matmul(take_norm(context, layer.ffn_norm.data()),
                                   gate_kind_of(context.spec), gate, up);
  const MatrixView wide =
      row_parallel_input(padded, sizes.gate_pad, *layer.down, context.shard.ffn.begin);
  const MatmulTarget output{layer.down.get(), nullptr, partial};
  context.stream.matmul(wide, {&output, 1});
}

// The same for each token's chosen experts, weighted. Every rank routes alike: the router is
// replicated, and so are its input's bits.
void run_experts(LayerContext& context, const LayerParameters& layer, MatrixView partial) {
  const Activations& act = context.activations;
  const NormArgs norm = take_norm(context, layer.ffn_norm.data());
  context.stream.add_norm(norm);
  const MatrixView x = norm.out;
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
}

}  // namespace

Status run_feed_forward(LayerContext& context, std::int32_t layer_index) {
  const LayerParameters& layer = context.parameters.layers[static_cast<std::size_t>(layer_index)];
  const Activations& act = context.activations;
  const std::int64_t tokens = context.batch.num_tokens();
  const MatrixView partial = act.partial(tokens);
  if (layer.down == nullptr) {  // a rank without columns or experts
    settle(context);
    context.stream.fill_zero(partial.data, partial.rows * partial.columns * 4);
    return leave_reduced(context, partial, layer.post_ffn_norm.data());
  }
  if (layer.router != nullptr) {
    run_experts(context, layer, partial);
  } else {
    run_dense(context, layer, partial);
  }
  return leave_reduced(context, partial, layer.post_ffn_norm.data());
}

}  // namespace tandem
