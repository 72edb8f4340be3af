#include <algorithm>

#include "plan/layout.h"

namespace tandem {

std::int64_t compute_bytes_of(const ModelSpec& spec, const RankShard& shard,
                              std::int32_t max_batch_tokens, std::int32_t max_output_rows) {
  const std::int64_t head_dim = spec.attention.head_dim;
  const std::int64_t heads = shard.q_heads.size() + 2 * shard.kv_heads.size();
  const std::int64_t experts_used = std::max(1, spec.feed_forward.num_experts_used);
  // Residual, its normalised copy, a layer's partial sum, and what attention or the feed-forward
  // holds at once; all in F32.
  const std::int64_t attention = (heads + shard.q_heads.size()) * head_dim;
  const std::int64_t feed_forward = 2 * experts_used * shard.ffn.size();
  const std::int64_t per_token = 3 * std::int64_t{spec.hidden_size} +
                                 std::max(attention, feed_forward) +
                                 std::int64_t{spec.feed_forward.num_experts};
  const std::int64_t logits =
      shard.has_output ? max_output_rows * shard.vocabulary.size() : std::int64_t{0};
  return 4 * (per_token * max_batch_tokens + logits);
}

}  // namespace tandem
