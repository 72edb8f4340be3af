#include "nn/layers.h"

namespace tandem {
namespace {

Status project_qkv(LayerContext& context, const LayerParameters& layer) {
  const Activations& act = context.activations;
  const std::int64_t tokens = context.batch.num_tokens();
  const auto project = [&](std::int64_t first, const NormArgs& norm) {
    const std::int64_t count = norm.x.rows;
    const MatmulTarget targets[] = {
        {layer.query.get(), layer.query_bias.data(), act.q(tokens).slice_rows(first, count)},
        {layer.key.get(), layer.key_bias.data(), act.k(tokens).slice_rows(first, count)},
        {layer.value.get(), layer.value_bias.data(), act.v(tokens).slice_rows(first, count)},
    };
    context.stream.norm_matmul(norm, targets);
  };
  return for_normed_rows(context, layer.attention_norm.data(), project);
}

void norm_heads(LayerContext& context, const LayerParameters& layer, MatrixView q, MatrixView k) {
  if (!layer.query_norm) return;
  const auto epsilon = static_cast<float>(context.spec.norm_epsilon);
  const std::int32_t head_dim = context.spec.attention.head_dim;
  context.stream.rms_norm_heads(q, head_dim, layer.query_norm.data(), epsilon);
  context.stream.rms_norm_heads(k, head_dim, layer.key_norm.data(), epsilon);
}

void turn(LayerContext& context, bool has_window, MatrixView x) {
  const DecoderParameters& parameters = context.parameters;
  const AttentionSpec& attention = context.spec.attention;
  const bool local = has_window && parameters.local_rope_frequencies;
  RopeArgs args;
  args.x = x;
  args.head_dim = attention.head_dim;
  args.rope_dims = attention.rope.dims;
  args.style = attention.rope.adjacent_pairs ? RopeStyle::kAdjacentPairs : RopeStyle::kHalves;
  args.inverse_frequencies =
      local ? parameters.local_rope_frequencies.data() : parameters.rope_frequencies.data();
  args.magnitude = local ? parameters.local_rope_magnitude : parameters.rope_magnitude;
  args.positions = context.activations.positions();
  context.stream.rope(args);
}

void attend(LayerContext& context, std::int32_t window, const KvView& kv, MatrixView q) {
  const AttentionSpec& attention = context.spec.attention;
  const Activations& act = context.activations;
  AttentionArgs args;
  args.q = q;
  args.kv = kv;
  args.out = act.attention_out(q.rows).slice_columns(act.sizes().attention_out_pad, q.columns);
  args.sequences = context.sequences;
  args.num_q_heads = static_cast<std::int32_t>(context.shard.q_heads.size());
  args.q_heads_per_kv_head = attention.q_heads_per_kv_head();
  args.q_head_offset = static_cast<std::int32_t>(
      context.shard.q_heads.begin - context.shard.kv_heads.begin * args.q_heads_per_kv_head);
  args.scale = static_cast<float>(attention.scale);
  args.soft_cap = static_cast<float>(attention.soft_cap);
  args.window = window;
  context.stream.attention(args);
}

}  // namespace

Status run_attention(LayerContext& context, std::int32_t layer_index, const KvView& kv) {
  const LayerParameters& layer = context.parameters.layers[static_cast<std::size_t>(layer_index)];
  const Activations& act = context.activations;
  const std::int64_t tokens = context.batch.num_tokens();
  const MatrixView partial = act.partial(tokens);
  if (layer.query == nullptr) {  // a rank without heads
    TANDEM_TRY_STATUS(settle(context));
    return reduce_nothing(context, partial, layer.post_attention_norm.data());
  }

  TANDEM_TRY_STATUS(project_qkv(context, layer));

  const MatrixView q = act.q(tokens);
  const MatrixView k = act.k(tokens);
  const std::int32_t window = context.spec.window_of(context.shard.first_layer + layer_index);
  norm_heads(context, layer, q, k);
  turn(context, window > 0, q);
  turn(context, window > 0, k);
  context.stream.store_kv(k, act.v(tokens), kv, context.batch.slots);
  attend(context, window, kv, q);

  const std::int64_t first_column = context.shard.q_heads.begin * context.spec.attention.head_dim;
  const MatrixView heads =
      row_parallel_input(act.attention_out(tokens), act.sizes().attention_out_pad,
                         *layer.attention_output, first_column);
  return multiply_and_reduce(context, heads, *layer.attention_output, partial,
                             layer.post_attention_norm.data());
}

}  // namespace tandem
