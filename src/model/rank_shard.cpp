#include "model/rank_shard.h"

#include <algorithm>

#include "base/check.h"

namespace tandem {
namespace {

Interval scaled(Interval interval, std::int64_t factor) {
  return {interval.begin * factor, interval.end * factor};
}

Interval shifted(Interval interval, std::int64_t offset) {
  return {interval.begin + offset, interval.end + offset};
}

Shard rows(std::vector<Interval> segments) {
  std::erase_if(segments, [](const Interval& segment) { return segment.empty(); });
  return Shard::split(ShardAxis::kRows, std::move(segments));
}

// The part of `total` units that `part` is of `whole`: tensors of one role may differ in width
// where models mix dense layers, shared experts and experts.
Interval in_proportion(Interval part, std::int64_t whole, std::int64_t total) {
  if (whole == total || whole == 0) return part;
  return {part.begin * total / whole, part.end * total / whole};
}

Shard columns(ElementType type, Interval exact) {
  if (exact.empty()) return Shard::split(ShardAxis::kColumns, {});
  return Shard::split(ShardAxis::kColumns, {widen_to_blocks(type, exact)});
}

bool is_held(const TensorSpec& tensor, const RankShard& rank) {
  switch (tensor.role) {
    case TensorRole::kTokenEmbedding:
      return false;
    case TensorRole::kOutputNorm:
    case TensorRole::kOutput:
      return rank.has_output;
    case TensorRole::kRopeFactors:
    case TensorRole::kRopeFactorsLong:
    case TensorRole::kRopeFactorsShort:
      return true;
    default:
      return tensor.layer >= rank.first_layer && tensor.layer < rank.first_layer + rank.num_layers;
  }
}

Shard attention_shard(TensorRole role, const TensorSpec& tensor, const AttentionSpec& attention,
                      const RankShard& rank) {
  const std::int64_t head_dim = attention.head_dim;
  const Interval q = scaled(rank.q_heads, head_dim);
  const Interval kv = scaled(rank.kv_heads, head_dim);
  const std::int64_t q_size = attention.num_q_heads * head_dim;
  const std::int64_t kv_size = attention.num_kv_heads * head_dim;
  switch (role) {
    case TensorRole::kQuery:
      return rows({in_proportion(q, q_size, tensor.rows)});
    case TensorRole::kKey:
    case TensorRole::kValue:
      return rows({kv});
    case TensorRole::kQueryKeyValue:
      return rows({q, shifted(kv, q_size), shifted(kv, q_size + kv_size)});
    case TensorRole::kQueryBias:
      return columns(tensor.type, q);
    case TensorRole::kKeyBias:
    case TensorRole::kValueBias:
      return columns(tensor.type, kv);
    case TensorRole::kAttentionOutput:
      return columns(tensor.type, in_proportion(q, q_size, tensor.columns));
    default:
      return Shard::replicated();
  }
}

// Experts are split by expert or by width, never both: the axis that is whole is left alone.
Shard expert_shard(const TensorSpec& tensor, const ModelSpec& spec, const RankShard& rank) {
  if (rank.experts.size() < spec.feed_forward.num_experts) {
    TANDEM_CHECK(rank.ffn.size() == spec.feed_forward.width || rank.experts.empty(),
                 "experts split by expert and by width at once");
    if (rank.experts.empty()) return Shard::split(ShardAxis::kExperts, {});
    return Shard::split(ShardAxis::kExperts, {rank.experts});
  }
  if (tensor.role == TensorRole::kExpertDown) return columns(tensor.type, rank.ffn);
  return rows({rank.ffn});
}

}  // namespace

RankShard whole_model(const ModelSpec& spec) {
  RankShard rank;
  rank.num_layers = spec.num_layers;
  rank.q_heads = {0, spec.attention.num_q_heads};
  rank.kv_heads = {0, spec.attention.num_kv_heads};
  rank.ffn = {0, spec.feed_forward.width};
  rank.experts = {0, spec.feed_forward.num_experts};
  rank.vocabulary = {0, spec.vocabulary_size};
  return rank;
}

Interval kv_heads_of(const AttentionSpec& attention, Interval q_heads) {
  if (q_heads.empty()) return {0, 0};
  const std::int64_t group = attention.q_heads_per_kv_head();
  return {q_heads.begin / group, (q_heads.end + group - 1) / group};
}

Interval widen_to_blocks(ElementType type, Interval exact) {
  const std::int64_t block = traits_of(type).block_elements;
  return {exact.begin / block * block, (exact.end + block - 1) / block * block};
}

Shard shard_of(const TensorSpec& tensor, const ModelSpec& spec, const RankShard& rank) {
  if (!is_held(tensor, rank)) return Shard::split(ShardAxis::kRows, {});
  switch (tensor.role) {
    case TensorRole::kOutput:
      return rows({rank.vocabulary});
    case TensorRole::kGate:
    case TensorRole::kUp:
      return rows({in_proportion(rank.ffn, spec.feed_forward.width, tensor.rows)});
    case TensorRole::kGateUp:
      return rows({rank.ffn, shifted(rank.ffn, spec.feed_forward.width)});
    case TensorRole::kDown:
      return columns(tensor.type, in_proportion(rank.ffn, spec.feed_forward.width, tensor.columns));
    case TensorRole::kExpertGate:
    case TensorRole::kExpertUp:
    case TensorRole::kExpertDown:
      return expert_shard(tensor, spec, rank);
    default:
      return attention_shard(tensor.role, tensor, spec.attention, rank);
  }
}

std::int64_t shard_bytes(const TensorSpec& tensor, const Shard& shard) {
  if (shard.kind != Shard::Kind::kSplit) return tensor.size_bytes();
  TensorSpec part = tensor;
  switch (shard.axis) {
    case ShardAxis::kExperts:
      part.num_experts = shard.size();
      break;
    case ShardAxis::kRows:
      part.rows = shard.size();
      break;
    case ShardAxis::kColumns:
      part.columns = shard.size();
      break;
  }
  return part.size_bytes();
}

std::int64_t weight_bytes_of(const ModelSpec& spec, const RankShard& rank) {
  std::int64_t total = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    total += shard_bytes(tensor, shard_of(tensor, spec, rank));
  }
  // A tied output matrix is the embedding's rows, held by the ranks that compute logits.
  if (spec.tied_embeddings && rank.has_output) {
    if (const TensorSpec* embedding = spec.find(TensorRole::kTokenEmbedding)) {
      total += shard_bytes(*embedding, rows({rank.vocabulary}));
    }
  }
  return total;
}

std::int64_t kv_bytes_per_token(const ModelSpec& spec, const RankShard& rank, ElementType type) {
  if (spec.attention.latent_dim > 0) {
    const auto bytes = bytes_of(type, spec.attention.latent_dim);
    TANDEM_CHECK(bytes.has_value(), "a latent that is no whole number of KV blocks");
    return rank.num_layers * rank.kv_heads.size() * *bytes;
  }
  const auto head_bytes = bytes_of(type, spec.attention.head_dim);
  TANDEM_CHECK(head_bytes.has_value(), "head size is no whole number of KV blocks");
  return 2 * rank.num_layers * rank.kv_heads.size() * *head_bytes;
}

}  // namespace tandem
