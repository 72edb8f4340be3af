#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device/device.h"

namespace tandem {

// A vector of float32 on the device; empty where the model or the shard has none.
struct VectorParameter {
  std::unique_ptr<Buffer> buffer;

  const float* data() const { return buffer ? static_cast<const float*>(buffer->data()) : nullptr; }
  explicit operator bool() const { return buffer != nullptr; }
};

using WeightPtr = std::unique_ptr<Weight>;

// One layer's shard. Matrices that a file fuses (phi3's QKV, gate and up) are apart here. A null
// weight is one that the model has not, or of which this rank holds nothing.
struct LayerParameters {
  VectorParameter attention_norm;  // [hidden]
  WeightPtr query;                 // [local q heads * head_dim, hidden]
  WeightPtr key;                   // [local kv heads * head_dim, hidden]
  WeightPtr value;                 // [local kv heads * head_dim, hidden]
  VectorParameter query_bias;
  VectorParameter key_bias;
  VectorParameter value_bias;
  VectorParameter query_norm;           // [head_dim]
  VectorParameter key_norm;             // [head_dim]
  WeightPtr attention_output;           // [hidden, local q heads * head_dim, widened to blocks]
  VectorParameter post_attention_norm;  // [hidden]

  VectorParameter ffn_norm;  // [hidden]
  WeightPtr gate;            // [local ffn, hidden]; a stack where there are experts
  WeightPtr up;              // [local ffn, hidden]
  WeightPtr down;            // [hidden, local ffn, widened to blocks]
  VectorParameter post_ffn_norm;
  WeightPtr router;  // [experts, hidden]
};

// What one rank holds of a model. The token embedding is not here: it is read where it lies, in
// the mapped file.
struct DecoderParameters {
  std::vector<LayerParameters> layers;     // of the rank's stage
  VectorParameter output_norm;             // last stage
  WeightPtr output;                        // last stage: [local vocabulary, hidden]
  VectorParameter rope_frequencies;        // [rope dims / 2]
  VectorParameter local_rope_frequencies;  // for layers with a window, where they differ
  float rope_magnitude = 1.0f;
  float local_rope_magnitude = 1.0f;

  std::int64_t size_bytes() const;
};

}  // namespace tandem
