#include "model/model_spec.h"
#include "model/tensor_names.h"

namespace tandem {
namespace {

// Collects the tensors of one model, layer by layer.
class Collector {
 public:
  Collector(const ModelSpec& shape, ElementType type) : shape_(shape), type_(type) {}

  void vector(TensorRole role, std::int32_t layer, std::int64_t size) {
    add(role, layer, ElementType::kF32, 1, 1, size);
  }
  void matrix(TensorRole role, std::int32_t layer, std::int64_t rows, std::int64_t columns) {
    add(role, layer, type_, 1, rows, columns);
  }
  void experts(TensorRole role, std::int32_t layer, std::int64_t rows, std::int64_t columns) {
    add(role, layer, type_, shape_.feed_forward.num_experts, rows, columns);
  }
  void router(std::int32_t layer) {
    add(TensorRole::kRouter, layer, ElementType::kF32, 1, shape_.feed_forward.num_experts,
        shape_.hidden_size);
  }
  std::vector<TensorSpec> take() { return std::move(tensors_); }

 private:
  void add(TensorRole role, std::int32_t layer, ElementType type, std::int64_t num_experts,
           std::int64_t rows, std::int64_t columns) {
    tensors_.push_back({tensor_name(role, layer), role, layer, type, num_experts, rows, columns});
  }

  const ModelSpec& shape_;
  ElementType type_;
  std::vector<TensorSpec> tensors_;
};

void add_attention(const ModelSpec& shape, std::int32_t layer, Collector& out) {
  const AttentionSpec& attention = shape.attention;
  const std::int64_t hidden = shape.hidden_size;
  const std::int64_t q_size = std::int64_t{attention.num_q_heads} * attention.head_dim;
  const std::int64_t kv_size = std::int64_t{attention.num_kv_heads} * attention.head_dim;
  out.vector(TensorRole::kAttentionNorm, layer, hidden);
  if (attention.fused_qkv) {
    out.matrix(TensorRole::kQueryKeyValue, layer, q_size + 2 * kv_size, hidden);
  } else {
    out.matrix(TensorRole::kQuery, layer, q_size, hidden);
    out.matrix(TensorRole::kKey, layer, kv_size, hidden);
    out.matrix(TensorRole::kValue, layer, kv_size, hidden);
  }
  if (attention.has_bias) {
    out.vector(TensorRole::kQueryBias, layer, q_size);
    out.vector(TensorRole::kKeyBias, layer, kv_size);
    out.vector(TensorRole::kValueBias, layer, kv_size);
  }
  if (attention.has_qk_norm) {
    out.vector(TensorRole::kQueryNorm, layer, attention.head_dim);
    out.vector(TensorRole::kKeyNorm, layer, attention.head_dim);
  }
  out.matrix(TensorRole::kAttentionOutput, layer, hidden, q_size);
  if (shape.has_post_norms) out.vector(TensorRole::kPostAttentionNorm, layer, hidden);
}

void add_feed_forward(const ModelSpec& shape, std::int32_t layer, Collector& out) {
  const FeedForwardSpec& ffn = shape.feed_forward;
  const std::int64_t hidden = shape.hidden_size;
  out.vector(TensorRole::kFeedForwardNorm, layer, hidden);
  if (ffn.num_experts > 0) {
    out.router(layer);
    out.experts(TensorRole::kExpertGate, layer, ffn.width, hidden);
    out.experts(TensorRole::kExpertUp, layer, ffn.width, hidden);
    out.experts(TensorRole::kExpertDown, layer, hidden, ffn.width);
  } else {
    if (ffn.fused_gate_up) {
      out.matrix(TensorRole::kGateUp, layer, 2 * std::int64_t{ffn.width}, hidden);
    } else {
      out.matrix(TensorRole::kGate, layer, ffn.width, hidden);
      out.matrix(TensorRole::kUp, layer, ffn.width, hidden);
    }
    out.matrix(TensorRole::kDown, layer, hidden, ffn.width);
  }
  if (shape.has_post_norms) out.vector(TensorRole::kPostFeedForwardNorm, layer, hidden);
}

}  // namespace

std::vector<TensorSpec> usual_tensors(const ModelSpec& shape, ElementType type) {
  Collector out(shape, type);
  out.matrix(TensorRole::kTokenEmbedding, -1, shape.vocabulary_size, shape.hidden_size);
  for (std::int32_t layer = 0; layer < shape.num_layers; ++layer) {
    add_attention(shape, layer, out);
    add_feed_forward(shape, layer, out);
  }
  out.vector(TensorRole::kOutputNorm, -1, shape.hidden_size);
  if (!shape.tied_embeddings) {
    out.matrix(TensorRole::kOutput, -1, shape.vocabulary_size, shape.hidden_size);
  }
  return out.take();
}

}  // namespace tandem
