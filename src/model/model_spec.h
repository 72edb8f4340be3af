#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/element_type.h"

namespace tandem {

class GgufFile;

enum class Architecture : std::uint8_t {
  kLlama,
  kQwen2,
  kQwen3,
  kQwen3Moe,
  kGemma2,
  kGemma3,
  kPhi3
};

// As `general.architecture` says it: "llama".
std::string_view name_of(Architecture architecture);
std::optional<Architecture> architecture_from_name(std::string_view name);
// "llama, qwen2, ...": for messages.
std::string supported_architectures();

// What a tensor is for. Matrices are [rows, columns] = [output features, input features].
enum class TensorRole : std::uint8_t {
  kTokenEmbedding,  // [vocabulary, hidden]
  kOutputNorm,      // [hidden]
  kOutput,          // [vocabulary, hidden]; absent where the embedding is tied
  kRopeFactors,     // [rope_dims / 2]: divide the frequencies
  kRopeFactorsLong,
  kRopeFactorsShort,
  kAttentionNorm,  // [hidden]
  kQuery,          // [q_heads * head_dim, hidden]
  kKey,            // [kv_heads * head_dim, hidden]
  kValue,          // [kv_heads * head_dim, hidden]
  kQueryKeyValue,  // the three above, one after another
  kQueryBias,      // [q_heads * head_dim]
  kKeyBias,
  kValueBias,
  kQueryNorm,          // [head_dim]
  kKeyNorm,            // [head_dim]
  kAttentionOutput,    // [hidden, q_heads * head_dim]
  kPostAttentionNorm,  // [hidden]
  kFeedForwardNorm,    // [hidden]
  kGate,               // [ffn, hidden]
  kUp,                 // [ffn, hidden]
  kGateUp,             // [2 * ffn, hidden]: gate, then up
  kDown,               // [hidden, ffn]
  kPostFeedForwardNorm,
  kRouter,      // [experts, hidden]
  kExpertGate,  // [experts, ffn, hidden]
  kExpertUp,    // [experts, ffn, hidden]
  kExpertDown,  // [experts, hidden, ffn]
};

struct TensorSpec {
  std::string name;  // as in the file: "blk.3.attn_q.weight"
  TensorRole role = TensorRole::kTokenEmbedding;
  std::int32_t layer = -1;  // -1: belongs to no layer
  ElementType type = ElementType::kF32;
  std::int64_t num_experts = 1;
  std::int64_t rows = 1;  // 1 for a vector
  std::int64_t columns = 0;

  std::int64_t size_bytes() const;
};

enum class RopeScaling : std::uint8_t { kNone, kLinear, kYarn, kLongRope };

struct RopeSpec {
  bool adjacent_pairs = true;  // llama's order; false: halves (NEOX)
  std::int32_t dims = 0;       // leading dims of a head that turn
  double base = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;  // positions are divided by it (linear), or the YaRN factor
  std::int64_t original_context_tokens = 0;
  double attention_factor = 1.0;  // multiplies cos and sin
  double yarn_beta_fast = 32.0;
  double yarn_beta_slow = 1.0;
  double local_base =
      0.0;  // gemma3: layers with a window use this base, unscaled; 0: as the others
};

struct AttentionSpec {
  std::int32_t num_q_heads = 0;
  std::int32_t num_kv_heads = 0;
  std::int32_t head_dim = 0;
  double scale = 0.0;       // of q.k
  double soft_cap = 0.0;    // 0: none
  std::int32_t window = 0;  // 0: none
  // Every window_period-th layer is without window: layer % period == period - 1. 1: all layers
  // have the window; 0: none has.
  std::int32_t window_period = 0;
  bool has_bias = false;     // on q, k and v
  bool has_qk_norm = false;  // RMS norm of each head before RoPE
  bool fused_qkv = false;
  // Multi-head latent attention: elements that the cache holds of a position and layer, keys and
  // values in one and shared by all heads. 0: keys and values of each KV head.
  std::int32_t latent_dim = 0;
  RopeSpec rope;

  std::int32_t q_heads_per_kv_head() const { return num_q_heads / num_kv_heads; }
};

struct FeedForwardSpec {
  std::int32_t width = 0;  // of one expert where there are experts
  bool gelu = false;       // GELU (tanh form) instead of SiLU
  bool fused_gate_up = false;
  std::int32_t num_experts = 0;  // 0: dense
  std::int32_t num_experts_used = 0;
  bool normalise_expert_weights = true;
};

// What a model is: its architecture, shapes and tensors, from a GGUF file or the catalogue of known
// shapes. A plain value; holds no weights.
struct ModelSpec {
  std::string name;
  Architecture architecture = Architecture::kLlama;
  std::int64_t context_tokens = 0;  // trained for
  std::int64_t vocabulary_size = 0;
  std::int32_t hidden_size = 0;
  std::int32_t num_layers = 0;
  AttentionSpec attention;
  FeedForwardSpec feed_forward;
  double norm_epsilon = 1e-5;
  bool has_post_norms = false;   // gemma: a norm after attention and after the feed-forward
  double embedding_scale = 1.0;  // gemma: sqrt(hidden)
  double final_soft_cap = 0.0;   // of the logits; 0: none
  bool tied_embeddings = false;
  std::string file_type;            // "Q4_K_M", for people; may be empty
  std::vector<TensorSpec> tensors;  // in the order of the file

  // 0: the layer sees everything before it.
  std::int32_t window_of(std::int32_t layer) const;
  // Null where the model has none.
  const TensorSpec* find(TensorRole role, std::int32_t layer = -1) const;
  std::int64_t num_parameters() const;
  std::int64_t weight_bytes() const;
};

// Reads and checks everything the forward pass relies on: keys, their ranges, and every tensor's
// presence and shape. Errors name the key or tensor; an architecture that Tandem does not know is
// kUnsupported and lists those it does.
Result<ModelSpec> model_spec_from_gguf(const GgufFile& file);

// The tensors that a model of this shape has, all of type `type` (norms, biases, routers: F32), in
// the usual order and under the usual names. Fills neither types of a mix nor `name`.
std::vector<TensorSpec> usual_tensors(const ModelSpec& shape, ElementType type);

}  // namespace tandem
