#include "model/activation_sizes.h"

#include <algorithm>

namespace tandem {
namespace {

// The widest widening over the rank's layers, whose matrices may be of different types.
Interval widen_over_layers(const ModelSpec& spec, const RankShard& shard, TensorRole role,
                           Interval exact) {
  Interval widest = exact;
  if (exact.empty()) return widest;
  for (const TensorSpec& tensor : spec.tensors) {
    const bool mine = tensor.role == role && tensor.layer >= shard.first_layer &&
                      tensor.layer < shard.first_layer + shard.num_layers;
    if (!mine) continue;
    const Interval widened = widen_to_blocks(tensor.type, exact);
    widest = {std::min(widest.begin, widened.begin), std::max(widest.end, widened.end)};
  }
  return widest;
}

}  // namespace

ActivationSizes activation_sizes_of(const ModelSpec& spec, const RankShard& shard,
                                    std::int64_t max_tokens, std::int64_t max_output_rows) {
  const std::int64_t head_dim = spec.attention.head_dim;
  const FeedForwardSpec& ffn = spec.feed_forward;
  ActivationSizes sizes;
  sizes.max_tokens = max_tokens;
  sizes.max_output_rows = max_output_rows;
  sizes.hidden = spec.hidden_size;
  sizes.q = shard.q_heads.size() * head_dim;
  sizes.kv = shard.kv_heads.size() * head_dim;
  const Interval q{shard.q_heads.begin * head_dim, shard.q_heads.end * head_dim};
  const Interval q_wide = widen_over_layers(spec, shard, TensorRole::kAttentionOutput, q);
  sizes.attention_out = q_wide.size();
  sizes.attention_out_pad = q.begin - q_wide.begin;
  const bool has_experts = ffn.num_experts > 0;
  const bool idle = shard.ffn.empty() || (has_experts && shard.experts.empty());
  sizes.ffn = idle ? 0 : shard.ffn.size();
  const TensorRole down = has_experts ? TensorRole::kExpertDown : TensorRole::kDown;
  const Interval wide = widen_over_layers(spec, shard, down, shard.ffn);
  sizes.gate = idle ? 0 : wide.size();
  sizes.gate_pad = idle ? 0 : shard.ffn.begin - wide.begin;
  sizes.num_experts = ffn.num_experts;
  sizes.top_k = ffn.num_experts_used;
  sizes.vocabulary = shard.has_output ? shard.vocabulary.size() : 0;
  return sizes;
}

std::int64_t ActivationSizes::total_bytes() const {
  const std::int64_t copies = std::max<std::int64_t>(top_k, 1);
  // hidden, normed and partial; q, k, v and the heads' results; gate and up; routing.
  std::int64_t per_token = 3 * hidden + q + 2 * kv + attention_out;
  per_token += copies * (gate + ffn);
  per_token += num_experts + 2 * top_k + (top_k > 0 ? copies * hidden : 0);
  per_token += 1;  // position
  const std::int64_t per_row =
      vocabulary + 2 * hidden + (vocabulary > 0 ? 2 * kMostCandidates + 2 : 0);
  return static_cast<std::int64_t>(sizeof(float)) *
         (max_tokens * per_token + max_output_rows * per_row);
}

}  // namespace tandem
