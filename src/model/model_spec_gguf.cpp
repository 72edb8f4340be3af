#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <set>

#include "gguf/gguf_file.h"
#include "model/architecture_traits.h"
#include "model/model_spec.h"
#include "model/tensor_names.h"

namespace tandem {
namespace {

// Bounds far above any model that exists, and far below where sizes or loops could hurt.
constexpr std::uint64_t kMaxLayers = 1024;
constexpr std::uint64_t kMaxHeads = 4096;
constexpr std::uint64_t kMaxHeadDim = 1024;
constexpr std::uint64_t kMaxWidth = 1u << 22;
constexpr std::uint64_t kMaxVocabulary = 1u << 24;
constexpr std::uint64_t kMaxExperts = 1024;
constexpr std::uint64_t kMaxContext = std::uint64_t{1} << 30;

// Reads keys below "<architecture>.", with range checks and errors that name file and key.
class KeyReader {
 public:
  KeyReader(const GgufFile& file, std::string_view prefix) : file_(file), prefix_(prefix) {}

  std::string key(std::string_view name) const { return fmt::format("{}.{}", prefix_, name); }
  bool has(std::string_view name) const { return file_.find(key(name)) != nullptr; }

  Result<std::int64_t> integer(std::string_view name, std::uint64_t low, std::uint64_t high) const {
    TANDEM_TRY(const std::uint64_t value, file_.get_uint(key(name)));
    if (value < low || value > high) {
      return malformed(fmt::format("{}: key {}", file_.name(), key(name)), "value out of range",
                       fmt::format("{} to {}", low, high), std::to_string(value));
    }
    return static_cast<std::int64_t>(value);
  }
  Result<std::int64_t> integer_or(std::string_view name, std::int64_t fallback, std::uint64_t low,
                                  std::uint64_t high) const {
    if (!has(name)) return fallback;
    return integer(name, low, high);
  }
  Result<double> number_or(std::string_view name, double fallback, double low, double high) const {
    TANDEM_TRY(const double value, file_.get_float_or(key(name), fallback));
    if (!(value >= low && value <= high)) {
      return malformed(fmt::format("{}: key {}", file_.name(), key(name)), "value out of range",
                       fmt::format("{} to {}", low, high), fmt::format("{}", value));
    }
    return value;
  }

 private:
  const GgufFile& file_;
  std::string_view prefix_;
};

Result<RopeScaling> scaling_from_name(const GgufFile& file, std::string_view name) {
  if (name == "none" || name.empty()) return RopeScaling::kNone;
  if (name == "linear") return RopeScaling::kLinear;
  if (name == "yarn") return RopeScaling::kYarn;
  if (name == "longrope") return RopeScaling::kLongRope;
  return unsupported(file.name(), "unknown kind of RoPE scaling", "none, linear, yarn or longrope",
                     std::string(name));
}

Result<RopeSpec> read_rope(const GgufFile& file, const KeyReader& keys, const ModelSpec& spec) {
  RopeSpec rope;
  rope.adjacent_pairs = spec.architecture == Architecture::kLlama;
  const int head_dim = spec.attention.head_dim;
  TANDEM_TRY(const auto dims, keys.integer_or("rope.dimension_count", head_dim, 2,
                                              static_cast<std::uint64_t>(head_dim)));
  if (dims % 2 != 0) {
    return malformed(file.name(), "odd rope.dimension_count", "an even number",
                     std::to_string(dims));
  }
  rope.dims = static_cast<std::int32_t>(dims);
  TANDEM_TRY(rope.base, keys.number_or("rope.freq_base", 10000.0, 1.0, 1e12));
  TANDEM_TRY(const auto kind, file.get_string_or(keys.key("rope.scaling.type"), "none"));
  TANDEM_TRY(rope.scaling, scaling_from_name(file, kind));
  TANDEM_TRY(rope.factor, keys.number_or("rope.scaling.factor", 1.0, 1e-6, 1e6));
  // Files from before rope.scaling.* say the linear factor so.
  if (!keys.has("rope.scaling.factor") && keys.has("rope.scale_linear")) {
    TANDEM_TRY(rope.factor, keys.number_or("rope.scale_linear", 1.0, 1e-6, 1e6));
    if (rope.factor != 1.0) rope.scaling = RopeScaling::kLinear;
  }
  TANDEM_TRY(rope.original_context_tokens, keys.integer_or("rope.scaling.original_context_length",
                                                           spec.context_tokens, 1, kMaxContext));
  TANDEM_TRY(rope.attention_factor, keys.number_or("rope.scaling.attn_factor", 1.0, 1e-3, 1e3));
  TANDEM_TRY(rope.yarn_beta_fast, keys.number_or("rope.scaling.yarn_beta_fast", 32.0, 1e-3, 1e6));
  TANDEM_TRY(rope.yarn_beta_slow, keys.number_or("rope.scaling.yarn_beta_slow", 1.0, 1e-3, 1e6));
  if (spec.architecture == Architecture::kGemma3) {
    TANDEM_TRY(rope.local_base, keys.number_or("rope.freq_base_swa", 10000.0, 1.0, 1e12));
  }
  return rope;
}

Status read_attention(const GgufFile& file, const KeyReader& keys, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  TANDEM_TRY(const auto q_heads, keys.integer("attention.head_count", 1, kMaxHeads));
  TANDEM_TRY(const auto kv_heads, keys.integer_or("attention.head_count_kv", q_heads, 1,
                                                  static_cast<std::uint64_t>(q_heads)));
  if (q_heads % kv_heads != 0) {
    return malformed(file.name(), "attention.head_count is no multiple of head_count_kv",
                     fmt::format("a multiple of {}", kv_heads), std::to_string(q_heads));
  }
  const bool has_key_length = keys.has("attention.key_length");
  if (!has_key_length && spec.hidden_size % q_heads != 0) {
    return malformed(file.name(), "embedding_length is no multiple of attention.head_count");
  }
  TANDEM_TRY(const auto head_dim,
             keys.integer_or("attention.key_length", spec.hidden_size / q_heads, 2, kMaxHeadDim));
  TANDEM_TRY(const auto value_dim,
             keys.integer_or("attention.value_length", head_dim, 2, kMaxHeadDim));
  if (value_dim != head_dim) {
    return unsupported(file.name(), "attention.value_length differs from key_length",
                       std::to_string(head_dim), std::to_string(value_dim));
  }
  if (head_dim % 2 != 0) {
    return unsupported(file.name(), "odd head size", "an even number", std::to_string(head_dim));
  }
  attention.num_q_heads = static_cast<std::int32_t>(q_heads);
  attention.num_kv_heads = static_cast<std::int32_t>(kv_heads);
  attention.head_dim = static_cast<std::int32_t>(head_dim);
  attention.scale = attention_scale_of(spec);
  TANDEM_TRY(const auto window, keys.integer_or("attention.sliding_window", 0, 0, kMaxContext));
  attention.window = static_cast<std::int32_t>(window);
  attention.window_period = window_period_of(spec.architecture);
  if (spec.architecture == Architecture::kGemma2) {
    TANDEM_TRY(attention.soft_cap, keys.number_or("attn_logit_softcapping", 50.0, 0.0, 1e6));
    TANDEM_TRY(spec.final_soft_cap, keys.number_or("final_logit_softcapping", 30.0, 0.0, 1e6));
  }
  attention.has_bias = file.find_tensor(tensor_name(TensorRole::kQueryBias, 0)) != nullptr;
  attention.has_qk_norm = file.find_tensor(tensor_name(TensorRole::kQueryNorm, 0)) != nullptr;
  attention.fused_qkv = file.find_tensor(tensor_name(TensorRole::kQueryKeyValue, 0)) != nullptr;
  TANDEM_TRY(attention.rope, read_rope(file, keys, spec));
  return {};
}

Status read_feed_forward(const GgufFile& file, const KeyReader& keys, ModelSpec& spec) {
  FeedForwardSpec& ffn = spec.feed_forward;
  ffn.gelu = is_gemma(spec.architecture);
  TANDEM_TRY(const auto experts, keys.integer_or("expert_count", 0, 0, kMaxExperts));
  ffn.num_experts = static_cast<std::int32_t>(experts);
  if (experts == 0) {
    TANDEM_TRY(const auto width, keys.integer("feed_forward_length", 1, kMaxWidth));
    ffn.width = static_cast<std::int32_t>(width);
    ffn.fused_gate_up = file.find_tensor(tensor_name(TensorRole::kGate, 0)) == nullptr;
    return {};
  }
  TANDEM_TRY(const auto used,
             keys.integer("expert_used_count", 1, static_cast<std::uint64_t>(experts)));
  ffn.num_experts_used = static_cast<std::int32_t>(used);
  const bool own_key = keys.has("expert_feed_forward_length");
  TANDEM_TRY(
      const auto width,
      keys.integer(own_key ? "expert_feed_forward_length" : "feed_forward_length", 1, kMaxWidth));
  ffn.width = static_cast<std::int32_t>(width);
  return {};
}

Status read_shape(const GgufFile& file, const KeyReader& keys, ModelSpec& spec) {
  TANDEM_TRY(const auto layers, keys.integer("block_count", 1, kMaxLayers));
  TANDEM_TRY(const auto hidden, keys.integer("embedding_length", 1, kMaxWidth));
  TANDEM_TRY(spec.context_tokens, keys.integer("context_length", 1, kMaxContext));
  spec.num_layers = static_cast<std::int32_t>(layers);
  spec.hidden_size = static_cast<std::int32_t>(hidden);
  TANDEM_TRY(spec.norm_epsilon, keys.number_or("attention.layer_norm_rms_epsilon", 1e-5, 0.0, 1.0));
  const GgufTensor* embedding = file.find_tensor(tensor_name(TensorRole::kTokenEmbedding, -1));
  if (embedding == nullptr) return malformed(file.name(), "tensor token_embd.weight is missing");
  const auto vocabulary = static_cast<std::uint64_t>(embedding->rows());
  if (vocabulary > kMaxVocabulary) {
    return malformed(file.name(), "token_embd.weight has too many rows",
                     fmt::format("at most {}", kMaxVocabulary), std::to_string(vocabulary));
  }
  spec.vocabulary_size = embedding->rows();
  const bool gemma = is_gemma(spec.architecture);
  spec.has_post_norms = gemma;
  spec.embedding_scale = gemma ? std::sqrt(static_cast<double>(hidden)) : 1.0;
  spec.tied_embeddings = file.find_tensor(tensor_name(TensorRole::kOutput, -1)) == nullptr;
  return {};
}

std::string shape_text(const std::vector<std::int64_t>& dims) {
  return fmt::format("[{}]", fmt::join(dims.rbegin(), dims.rend(), ", "));
}

// Holds the tensor of the file to what the shape demands, and takes its type over.
Status match_tensor(const GgufFile& file, TensorSpec& expected) {
  const GgufTensor* tensor = file.find_tensor(expected.name);
  if (tensor == nullptr) {
    return malformed(file.name(), "tensor " + expected.name + " is missing");
  }
  std::vector<std::int64_t> dims = {expected.columns};
  const bool is_matrix = expected.role != TensorRole::kQueryBias &&
                         expected.role != TensorRole::kKeyBias &&
                         expected.role != TensorRole::kValueBias;
  if (is_matrix && (expected.rows > 1 || tensor->dims.size() > 1)) dims.push_back(expected.rows);
  if (expected.num_experts > 1 || tensor->dims.size() > 2) dims.push_back(expected.num_experts);
  if (tensor->dims != dims) {
    return malformed(file.name(), "tensor " + expected.name + " has the wrong shape",
                     shape_text(dims), shape_text(tensor->dims));
  }
  expected.type = tensor->type;
  return {};
}

Status add_rope_factors(const GgufFile& file, ModelSpec& spec) {
  for (const TensorRole role :
       {TensorRole::kRopeFactors, TensorRole::kRopeFactorsLong, TensorRole::kRopeFactorsShort}) {
    const std::string name = tensor_name(role, -1);
    if (file.find_tensor(name) == nullptr) continue;
    TensorSpec factors{name, role, -1, ElementType::kF32, 1, 1, spec.attention.rope.dims / 2};
    TANDEM_TRY_STATUS(match_tensor(file, factors));
    spec.tensors.push_back(std::move(factors));
  }
  return {};
}

// Of a head that scores what the last norm yields. The forward pass ends before it: whoever ranks
// documents applies it, and everybody else may leave it.
constexpr std::string_view kHeadTensors[] = {"cls.weight", "cls.bias", "cls.output.weight",
                                             "cls.output.bias"};

// A tensor that the forward pass would pass over in silence would mean wrong answers.
Status refuse_unused_tensors(const GgufFile& file, const ModelSpec& spec) {
  std::set<std::string_view> used(std::begin(kHeadTensors), std::end(kHeadTensors));
  for (const TensorSpec& tensor : spec.tensors) used.insert(tensor.name);
  for (const GgufTensor& tensor : file.tensors()) {
    if (used.contains(tensor.name)) continue;
    return unsupported(file.name(),
                       fmt::format("tensor {} is not part of architecture {} as Tandem knows it",
                                   tensor.name, name_of(spec.architecture)));
  }
  return {};
}

}  // namespace

Result<ModelSpec> model_spec_from_gguf(const GgufFile& file) {
  TANDEM_TRY(const auto architecture_name, file.get_string("general.architecture"));
  const auto architecture = architecture_from_name(architecture_name);
  if (!architecture) {
    return unsupported(file.name(), "architecture is not supported", supported_architectures(),
                       std::string(architecture_name));
  }
  ModelSpec spec;
  spec.architecture = *architecture;
  TANDEM_TRY(const auto name, file.get_string_or("general.name", ""));
  spec.name = name;
  const KeyReader keys(file, architecture_name);
  TANDEM_TRY_STATUS(read_shape(file, keys, spec));
  TANDEM_TRY_STATUS(read_attention(file, keys, spec));
  TANDEM_TRY_STATUS(read_feed_forward(file, keys, spec));
  spec.tensors = usual_tensors(spec, ElementType::kF32);
  for (TensorSpec& tensor : spec.tensors) TANDEM_TRY_STATUS(match_tensor(file, tensor));
  TANDEM_TRY_STATUS(add_rope_factors(file, spec));
  TANDEM_TRY_STATUS(refuse_unused_tensors(file, spec));
  return spec;
}

}  // namespace tandem
