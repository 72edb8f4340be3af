#include "plan/model_costs.h"

#include <algorithm>
#include <cmath>

#include "model/rank_shard.h"
#include "plan/layout.h"

namespace tandem {
namespace {

bool is_expert(TensorRole role) {
  return role == TensorRole::kExpertGate || role == TensorRole::kExpertUp ||
         role == TensorRole::kExpertDown;
}

bool is_attention(TensorRole role) {
  return role == TensorRole::kQuery || role == TensorRole::kKey || role == TensorRole::kValue ||
         role == TensorRole::kQueryKeyValue || role == TensorRole::kAttentionOutput;
}

double weights_of(const TensorSpec& tensor) {
  return static_cast<double>(tensor.num_experts) * static_cast<double>(tensor.rows) *
         static_cast<double>(tensor.columns);
}

void add_tensor(RangeCosts& costs, const TensorSpec& tensor) {
  const double bytes = static_cast<double>(tensor.size_bytes());
  const double weights = weights_of(tensor);
  (is_expert(tensor.role) ? costs.expert_bytes : costs.bytes) += bytes;
  (is_expert(tensor.role) ? costs.expert_weights : costs.weights) += weights;
  if (is_attention(tensor.role)) costs.attention_bytes += bytes;
}

void add_type(std::vector<TypeShare>& types, const TensorSpec& tensor) {
  auto found = std::find_if(types.begin(), types.end(),
                            [&](const TypeShare& share) { return share.type == tensor.type; });
  if (found == types.end()) found = types.insert(found, {tensor.type, 0, 0});
  found->bytes += static_cast<double>(tensor.size_bytes());
  found->weights += weights_of(tensor);
}

// Sums to shares.
void normalise(std::vector<TypeShare>& types) {
  double bytes = 0;
  double weights = 0;
  for (const TypeShare& share : types) {
    bytes += share.bytes;
    weights += share.weights;
  }
  for (TypeShare& share : types) {
    share.bytes /= std::max(1.0, bytes);
    share.weights /= std::max(1.0, weights);
  }
}

template <typename Op>
RangeCosts combine(const RangeCosts& a, const RangeCosts& b, Op op) {
  return {op(a.bytes, b.bytes),
          op(a.weights, b.weights),
          op(a.attention_bytes, b.attention_bytes),
          op(a.output_bytes, b.output_bytes),
          op(a.output_weights, b.output_weights),
          op(a.expert_bytes, b.expert_bytes),
          op(a.expert_weights, b.expert_weights),
          op(a.kv_bytes_full, b.kv_bytes_full),
          op(a.kv_bytes_windowed, b.kv_bytes_windowed),
          op(a.full_layers, b.full_layers),
          op(a.layers, b.layers)};
}

}  // namespace

ModelCosts::ModelCosts(const ModelSpec& spec, ElementType kv_type)
    : num_layers_(spec.num_layers), hidden_(spec.hidden_size) {
  const AttentionSpec& attention = spec.attention;
  const FeedForwardSpec& ffn = spec.feed_forward;
  width_ = static_cast<double>(ffn.width) * std::max(1, ffn.num_experts_used);
  head_width_ = static_cast<double>(attention.num_q_heads) * attention.head_dim;
  window_ = attention.window;
  num_q_heads_ = attention.num_q_heads;
  vocabulary_ = spec.vocabulary_size;
  num_experts_ = ffn.num_experts;
  num_experts_used_ = ffn.num_experts_used;
  ffn_width_ = ffn.width;
  ffn_granule_ = ffn_granule_of(spec);
  if (ffn.num_experts > 0) {
    expert_share_ = static_cast<double>(ffn.num_experts_used) / ffn.num_experts;
  }
  std::vector<RangeCosts> layers(static_cast<std::size_t>(num_layers_));
  double quantised_bytes = 0;
  double bf16_bytes = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    if (traits_of(tensor.type).is_quantised) {
      quantised_bytes += static_cast<double>(tensor.size_bytes());
    }
    if (tensor.type == ElementType::kBF16) bf16_bytes += static_cast<double>(tensor.size_bytes());
    if (tensor.layer >= 0 && tensor.layer < num_layers_) {
      add_tensor(layers[static_cast<std::size_t>(tensor.layer)], tensor);
      add_type(layer_types_, tensor);
    } else if (tensor.role == TensorRole::kOutput || tensor.role == TensorRole::kOutputNorm ||
               (tensor.role == TensorRole::kTokenEmbedding && spec.tied_embeddings)) {
      add_tensor(output_, tensor);
      add_type(output_types_, tensor);
    }
  }
  output_.output_bytes = output_.bytes;
  output_.output_weights = output_.weights;
  normalise(layer_types_);
  normalise(output_types_);
  quantised_ = quantised_bytes > 0.5 * static_cast<double>(spec.weight_bytes());
  bf16_ = bf16_bytes > 0.5 * static_cast<double>(spec.weight_bytes());
  const auto bytes_of_dims = [kv_type](std::int64_t dims) {
    return static_cast<double>(bytes_of(kv_type, dims).value_or(dims * 2));
  };
  const double kv_bytes = attention.latent_dim > 0
                              ? bytes_of_dims(attention.latent_dim)
                              : 2.0 * attention.num_kv_heads * bytes_of_dims(attention.head_dim);
  kv_width_ = attention.latent_dim > 0 ? attention.latent_dim
                                       : 2.0 * attention.num_kv_heads * attention.head_dim;
  prefix_.resize(layers.size() + 1);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool windowed = spec.window_of(static_cast<std::int32_t>(i)) > 0;
    (windowed ? layers[i].kv_bytes_windowed : layers[i].kv_bytes_full) = kv_bytes;
    layers[i].full_layers = windowed ? 0 : 1;
    layers[i].layers = 1;
    prefix_[i + 1] = combine(prefix_[i], layers[i], std::plus<>{});
  }
}

RangeCosts ModelCosts::range(std::int32_t first, std::int32_t count, bool with_output) const {
  const RangeCosts costs = combine(prefix_[static_cast<std::size_t>(first + count)],
                                   prefix_[static_cast<std::size_t>(first)], std::minus<>{});
  return with_output ? combine(costs, output_, std::plus<>{}) : costs;
}

RangeCosts ModelCosts::range_with(std::int32_t first, std::int32_t count,
                                  double output_share) const {
  RangeCosts costs = range(first, count, false);
  costs.bytes += output_share * output_.bytes;
  costs.weights += output_share * output_.weights;
  costs.output_bytes += output_share * output_.bytes;
  costs.output_weights += output_share * output_.weights;
  return costs;
}

double ModelCosts::experts_touched(double tokens) const {
  return expert_share_ > 0 ? 1.0 - std::pow(1.0 - expert_share_, tokens) : 0.0;
}

}  // namespace tandem
