#include "model/shape_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "model/architecture_traits.h"

namespace tandem {
namespace {

// Reads fields with checks of type and range, and knows at the end which ones nobody asked for.
class FieldReader {
 public:
  FieldReader(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  const nlohmann::json* find(const std::string& field) {
    seen_.insert(field);
    const auto found = object_.find(field);
    return found == object_.end() ? nullptr : &*found;
  }

  Result<std::string> text(const std::string& field) {
    const auto* value = find(field);
    if (value == nullptr || !value->is_string()) return wrong(field, "a string", value);
    return value->get<std::string>();
  }
  Result<std::string> text_or(const std::string& field, std::string fallback) {
    if (find(field) == nullptr) return fallback;
    return text(field);
  }
  Result<std::int64_t> integer(const std::string& field, std::int64_t low, std::int64_t high) {
    const auto* value = find(field);
    const bool ok =
        value != nullptr && value->is_number_integer() && *value >= low && *value <= high;
    if (!ok) return wrong(field, fmt::format("an integer, {} to {}", low, high), value);
    return value->get<std::int64_t>();
  }
  Result<std::int64_t> integer_or(const std::string& field, std::int64_t fallback, std::int64_t low,
                                  std::int64_t high) {
    if (find(field) == nullptr) return fallback;
    return integer(field, low, high);
  }
  Result<double> number_or(const std::string& field, double fallback, double low, double high) {
    const auto* value = find(field);
    if (value == nullptr) return fallback;
    if (!value->is_number() || !(*value >= low && *value <= high))
      return wrong(field, fmt::format("a number, {} to {}", low, high), value);
    return value->get<double>();
  }
  Result<bool> flag_or(const std::string& field, bool fallback) {
    const auto* value = find(field);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) return wrong(field, "true or false", value);
    return value->get<bool>();
  }
  // An object within; nullopt where the field is absent.
  Result<std::optional<FieldReader>> object(const std::string& field) {
    const auto* value = find(field);
    if (value == nullptr) return std::optional<FieldReader>();
    if (!value->is_object()) return wrong(field, "an object", value);
    return std::optional(FieldReader(*value, where_ + "." + field));
  }

  Status refuse_unknown_fields() const {
    for (const auto& [field, value] : object_.items())
      if (!seen_.contains(field)) return malformed(where_, "unknown field \"" + field + "\"");
    return {};
  }

 private:
  Error wrong(const std::string& field, std::string expected, const nlohmann::json* got) const {
    constexpr std::size_t kMaxShown = 60;
    std::string shown = got == nullptr
                            ? "nothing"
                            : got->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    if (shown.size() > kMaxShown) shown = shown.substr(0, kMaxShown) + "...";
    return malformed(where_, "field \"" + field + "\"", std::move(expected), std::move(shown));
  }

  const nlohmann::json& object_;
  std::string where_;
  std::set<std::string> seen_;
};

constexpr std::int64_t kMaxWidth = 1 << 22;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 30;

// What rope_freqs.weight divides the frequencies by, so that long waves are stretched `factor`-fold
// and short ones are left alone (transformers' modeling_rope_utils.py, _compute_llama3_parameters).
Result<std::vector<float>> read_llama3_factors(FieldReader& fields, const RopeSpec& rope) {
  TANDEM_TRY(const double factor, fields.number_or("factor", 8.0, 1.0, 1e4));
  TANDEM_TRY(const double low, fields.number_or("low_freq_factor", 1.0, 1e-3, 1e3));
  TANDEM_TRY(const double high, fields.number_or("high_freq_factor", 4.0, 1e-3, 1e3));
  TANDEM_TRY(const auto original, fields.integer_or("original_context", 8192, 1, kMaxContext));
  if (high <= low)
    return malformed(fields.where(), "high_freq_factor", fmt::format("more than {}", low),
                     fmt::format("{}", high));
  std::vector<float> factors;
  for (std::int32_t i = 0; i < rope.dims / 2; ++i) {
    const double wavelength = 2.0 * std::numbers::pi * std::pow(rope.base, 2.0 * i / rope.dims);
    const double turns = static_cast<double>(original) / wavelength;
    // The share of the unstretched frequency: 0 for long waves, 1 for short ones.
    const double share = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    factors.push_back(static_cast<float>(1.0 / ((1.0 - share) / factor + share)));
  }
  return factors;
}

Status read_rope(FieldReader& shape_fields, KnownShape& shape) {
  ModelSpec& spec = shape.spec;
  RopeSpec& rope = spec.attention.rope;
  rope.adjacent_pairs = spec.architecture == Architecture::kLlama;
  rope.dims = spec.attention.head_dim;
  rope.original_context_tokens = spec.context_tokens;
  if (spec.architecture == Architecture::kGemma3) rope.local_base = 10000.0;
  TANDEM_TRY(auto fields, shape_fields.object("rope"));
  if (!fields) return {};

  TANDEM_TRY(rope.base, fields->number_or("base", 10000.0, 1.0, 1e12));
  if (fields->find("scaling") != nullptr) {
    TANDEM_TRY(const std::string scaling, fields->text("scaling"));
    if (scaling == "llama3") {
      TANDEM_TRY(shape.rope_factors, read_llama3_factors(*fields, rope));
    } else if (scaling == "linear") {
      rope.scaling = RopeScaling::kLinear;
      TANDEM_TRY(rope.factor, fields->number_or("factor", 1.0, 1e-6, 1e6));
    } else {
      return malformed(fields->where(), "scaling", "llama3 or linear", scaling);
    }
  }
  return fields->refuse_unknown_fields();
}

Status read_attention(FieldReader& fields, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  TANDEM_TRY(const auto q_heads, fields.integer("heads", 1, 4096));
  TANDEM_TRY(const auto kv_heads, fields.integer_or("kv_heads", q_heads, 1, q_heads));
  if (q_heads % kv_heads != 0)
    return malformed(fields.where(), "heads", fmt::format("a multiple of {}", kv_heads),
                     std::to_string(q_heads));
  TANDEM_TRY(const auto head_dim,
             fields.integer_or("head_dim", spec.hidden_size / q_heads, 2, 1024));
  if (head_dim % 2 != 0)
    return malformed(fields.where(), "head_dim", "an even number", std::to_string(head_dim));
  TANDEM_TRY(const auto window, fields.integer_or("sliding_window", 0, 0, kMaxContext));
  attention.num_q_heads = static_cast<std::int32_t>(q_heads);
  attention.num_kv_heads = static_cast<std::int32_t>(kv_heads);
  attention.head_dim = static_cast<std::int32_t>(head_dim);
  attention.scale = attention_scale_of(spec);
  attention.window = static_cast<std::int32_t>(window);
  attention.window_period = window_period_of(spec.architecture);
  attention.has_bias = spec.architecture == Architecture::kQwen2;
  attention.has_qk_norm = spec.architecture == Architecture::kQwen3 ||
                          spec.architecture == Architecture::kQwen3Moe ||
                          spec.architecture == Architecture::kGemma3;
  attention.fused_qkv = spec.architecture == Architecture::kPhi3;
  TANDEM_TRY(attention.soft_cap, fields.number_or("attention_soft_cap", 0.0, 0.0, 1e6));
  TANDEM_TRY(spec.final_soft_cap, fields.number_or("final_soft_cap", 0.0, 0.0, 1e6));
  return {};
}

Status read_feed_forward(FieldReader& fields, ModelSpec& spec) {
  FeedForwardSpec& ffn = spec.feed_forward;
  ffn.gelu = is_gemma(spec.architecture);
  ffn.fused_gate_up = spec.architecture == Architecture::kPhi3;
  TANDEM_TRY(const auto dense_width, fields.integer("ffn", 1, kMaxWidth));
  ffn.width = static_cast<std::int32_t>(dense_width);
  TANDEM_TRY(auto experts, fields.object("experts"));
  const bool may_have = spec.architecture == Architecture::kLlama;
  const bool must_have = spec.architecture == Architecture::kQwen3Moe;
  if (experts.has_value() ? !(may_have || must_have) : must_have)
    return malformed(fields.where(), "experts",
                     must_have ? "experts" : "none for this architecture");
  if (!experts) return {};

  TANDEM_TRY(const auto count, experts->integer("count", 1, 1024));
  TANDEM_TRY(const auto used, experts->integer("used", 1, count));
  TANDEM_TRY(const auto width, experts->integer_or("ffn", dense_width, 1, kMaxWidth));
  ffn.num_experts = static_cast<std::int32_t>(count);
  ffn.num_experts_used = static_cast<std::int32_t>(used);
  ffn.width = static_cast<std::int32_t>(width);
  return experts->refuse_unknown_fields();
}

Status read_sizes(FieldReader& fields, ModelSpec& spec) {
  TANDEM_TRY(const auto layers, fields.integer("layers", 1, 1024));
  TANDEM_TRY(const auto hidden, fields.integer("hidden", 1, kMaxWidth));
  TANDEM_TRY(spec.vocabulary_size, fields.integer("vocabulary", 1, 1 << 24));
  TANDEM_TRY(spec.context_tokens, fields.integer_or("context", 4096, 1, kMaxContext));
  TANDEM_TRY(spec.norm_epsilon, fields.number_or("norm_epsilon", 1e-5, 0.0, 1.0));
  TANDEM_TRY(spec.tied_embeddings, fields.flag_or("tied_embeddings", false));
  spec.num_layers = static_cast<std::int32_t>(layers);
  spec.hidden_size = static_cast<std::int32_t>(hidden);
  spec.has_post_norms = is_gemma(spec.architecture);
  if (is_gemma(spec.architecture)) spec.embedding_scale = std::sqrt(static_cast<double>(hidden));
  return {};
}

// Each size is within its own bounds; this keeps sums of bytes far below 2^63.
Status refuse_giants(const ModelSpec& spec, const std::string& where) {
  constexpr double kMaxParameters = 1e15;
  double total = 0;
  for (const TensorSpec& tensor : usual_tensors(spec, ElementType::kF32))
    total += static_cast<double>(tensor.num_experts) * static_cast<double>(tensor.rows) *
             static_cast<double>(tensor.columns);
  if (total <= kMaxParameters) return {};
  return malformed(where, "number of weights", fmt::format("at most {:.0e}", kMaxParameters),
                   fmt::format("{:.1e}", total));
}

}  // namespace

Result<KnownShape> shape_from_json_value(const nlohmann::json& json, std::string_view where) {
  if (!json.is_object())
    return malformed(std::string(where), "not the description of a shape", "an object");
  FieldReader top(json, std::string(where));
  KnownShape shape;
  TANDEM_TRY(shape.spec.name, top.text("name"));
  FieldReader fields(json, fmt::format("{}: {}", where, shape.spec.name));
  fields.find("name");
  TANDEM_TRY(shape.title, fields.text_or("title", shape.spec.name));
  TANDEM_TRY(shape.source, fields.text_or("source", ""));
  if (const auto* aliases = fields.find("aliases"); aliases != nullptr) {
    if (!aliases->is_array()) return malformed(fields.where(), "field \"aliases\"", "an array");
    for (const auto& alias : *aliases)
      if (alias.is_string()) shape.aliases.push_back(alias.get<std::string>());
  }
  TANDEM_TRY(const std::string architecture, fields.text("architecture"));
  const auto known = architecture_from_name(architecture);
  if (!known)
    return unsupported(fields.where(), "architecture", supported_architectures(), architecture);
  shape.spec.architecture = *known;
  TANDEM_TRY_STATUS(read_sizes(fields, shape.spec));
  TANDEM_TRY_STATUS(read_attention(fields, shape.spec));
  TANDEM_TRY_STATUS(read_feed_forward(fields, shape.spec));
  TANDEM_TRY_STATUS(read_rope(fields, shape));
  TANDEM_TRY_STATUS(fields.refuse_unknown_fields());
  TANDEM_TRY_STATUS(refuse_giants(shape.spec, fields.where()));
  return shape;
}

}  // namespace tandem
