#include "nn/parameters.h"

namespace tandem {
namespace {

std::int64_t bytes(const WeightPtr& weight) {
  return weight ? weight->size_bytes() : 0;
}
std::int64_t bytes(const VectorParameter& vector) {
  return vector ? vector.buffer->size_bytes() : 0;
}

std::int64_t bytes(const LayerParameters& layer) {
  std::int64_t total = 0;
  for (const WeightPtr* weight : {&layer.query, &layer.key, &layer.value, &layer.attention_output,
                                  &layer.gate, &layer.up, &layer.down, &layer.router}) {
    total += bytes(*weight);
  }
  for (const VectorParameter* vector :
       {&layer.attention_norm, &layer.query_bias, &layer.key_bias, &layer.value_bias,
        &layer.query_norm, &layer.key_norm, &layer.post_attention_norm, &layer.ffn_norm,
        &layer.post_ffn_norm}) {
    total += bytes(*vector);
  }
  return total;
}

}  // namespace

std::int64_t DecoderParameters::size_bytes() const {
  std::int64_t total =
      bytes(output_norm) + bytes(output) + bytes(rope_frequencies) + bytes(local_rope_frequencies);
  for (const LayerParameters& layer : layers) total += bytes(layer);
  return total;
}

}  // namespace tandem
