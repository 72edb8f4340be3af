#pragma once

#include "model/model_spec.h"

namespace tandem {

struct TestShape {
  std::int32_t layers = 4;
  std::int32_t hidden = 256;
  std::int32_t q_heads = 8;
  std::int32_t kv_heads = 4;
  std::int32_t head_dim = 32;
  std::int32_t ffn = 768;
  std::int32_t experts = 0;
  std::int64_t vocabulary = 1000;
  ElementType type = ElementType::kQ8_0;
};

// A llama of that shape, with tensors but without weights.
inline ModelSpec model_for_test(const TestShape& shape) {
  ModelSpec spec;
  spec.name = "test";
  spec.context_tokens = 4096;
  spec.vocabulary_size = shape.vocabulary;
  spec.hidden_size = shape.hidden;
  spec.num_layers = shape.layers;
  spec.attention.num_q_heads = shape.q_heads;
  spec.attention.num_kv_heads = shape.kv_heads;
  spec.attention.head_dim = shape.head_dim;
  spec.feed_forward.width = shape.ffn;
  spec.feed_forward.num_experts = shape.experts;
  spec.feed_forward.num_experts_used = shape.experts > 0 ? 2 : 0;
  spec.tensors = usual_tensors(spec, shape.type);
  return spec;
}

}  // namespace tandem
