#include "model/model_metadata.h"

#include <fmt/format.h>

#include "gguf/gguf_writer.h"

namespace tandem {
namespace {

constexpr std::uint32_t kQuantizationVersion = 2;  // ggml.h: GGML_QNT_VERSION

// Writes keys below "<architecture>.".
class KeyWriter {
 public:
  KeyWriter(GgufWriter& writer, Architecture architecture)
      : writer_(writer), prefix_(name_of(architecture)) {}

  void u32(std::string_view name, std::int64_t value) {
    writer_.set_u32(key(name), static_cast<std::uint32_t>(value));
  }
  void f32(std::string_view name, double value) {
    writer_.set_f32(key(name), static_cast<float>(value));
  }
  void string(std::string_view name, std::string_view value) {
    writer_.set_string(key(name), value);
  }

 private:
  std::string key(std::string_view name) const { return fmt::format("{}.{}", prefix_, name); }

  GgufWriter& writer_;
  std::string_view prefix_;
};

void set_rope(KeyWriter& keys, const RopeSpec& rope, Architecture architecture) {
  keys.u32("rope.dimension_count", rope.dims);
  keys.f32("rope.freq_base", rope.base);
  if (rope.scaling == RopeScaling::kLinear) {
    keys.string("rope.scaling.type", "linear");
    keys.f32("rope.scaling.factor", rope.factor);
  }
  if (architecture == Architecture::kPhi3)
    keys.u32("rope.scaling.original_context_length", rope.original_context_tokens);
}

void set_attention(KeyWriter& keys, const ModelSpec& spec) {
  const AttentionSpec& attention = spec.attention;
  keys.u32("attention.head_count", attention.num_q_heads);
  keys.u32("attention.head_count_kv", attention.num_kv_heads);
  keys.u32("attention.key_length", attention.head_dim);
  keys.u32("attention.value_length", attention.head_dim);
  keys.f32("attention.layer_norm_rms_epsilon", spec.norm_epsilon);
  if (attention.window > 0) keys.u32("attention.sliding_window", attention.window);
  if (spec.architecture == Architecture::kGemma2) {
    keys.f32("attn_logit_softcapping", attention.soft_cap);
    keys.f32("final_logit_softcapping", spec.final_soft_cap);
  }
  set_rope(keys, attention.rope, spec.architecture);
}

}  // namespace

void set_model_metadata(GgufWriter& writer, const ModelSpec& spec, FileType type) {
  writer.set_string("general.architecture", name_of(spec.architecture));
  writer.set_string("general.type", "model");
  writer.set_string("general.name", spec.name);
  writer.set_u32("general.file_type", id_of(type));
  writer.set_u32("general.quantization_version", kQuantizationVersion);

  KeyWriter keys(writer, spec.architecture);
  keys.u32("block_count", spec.num_layers);
  keys.u32("context_length", spec.context_tokens);
  keys.u32("embedding_length", spec.hidden_size);
  keys.u32("vocab_size", spec.vocabulary_size);
  set_attention(keys, spec);

  const FeedForwardSpec& ffn = spec.feed_forward;
  keys.u32("feed_forward_length", ffn.width);
  if (ffn.num_experts == 0) return;
  keys.u32("expert_count", ffn.num_experts);
  keys.u32("expert_used_count", ffn.num_experts_used);
  if (spec.architecture == Architecture::kQwen3Moe)
    keys.u32("expert_feed_forward_length", ffn.width);
}

}  // namespace tandem
