#include "plan/planned_models.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <span>

#include "base/check.h"
#include "model/file_type.h"
#include "model/known_shapes.h"
#include "plan/device_rates.h"

namespace tandem {
namespace data {
extern const std::string_view kPlannedModelsJson;
}

namespace {

// Multi-head latent attention (DeepSeek-V2, 2024): keys and values are made from one latent vector
// a position, which is all that the cache holds, beside the key's part that turns by position.
struct LatentAttention {
  std::int64_t query_rank = 0;  // 0: queries are made from the hidden state directly
  std::int64_t latent_rank = 0;
  std::int64_t rope_dims = 0;
  std::int64_t key_dims = 0;  // of a head, without rope_dims
  std::int64_t value_dims = 0;
};

struct PlannedShape {
  KnownShape shape;
  std::int32_t window = 0;
  std::int32_t window_period = 0;
  std::int64_t shared_ffn = 0;
  std::int32_t dense_layers = 0;  // the first so many have no experts
  std::int64_t dense_ffn = 0;
  std::optional<LatentAttention> latent;
};

std::optional<LatentAttention> latent_of(const nlohmann::json& entry) {
  if (!entry.contains("latent")) return std::nullopt;
  const nlohmann::json& latent = entry.at("latent");
  return LatentAttention{latent.at("query_rank"), latent.at("latent_rank"), latent.at("rope_dims"),
                         latent.at("key_dims"), latent.at("value_dims")};
}

const std::vector<PlannedShape>& planned_shapes() {
  static const std::vector<PlannedShape> shapes = [] {
    std::vector<PlannedShape> out;
    const nlohmann::json json = nlohmann::json::parse(data::kPlannedModelsJson);
    for (const auto& entry : json.at("models")) {
      auto shape = shape_from_json(entry.at("shape").dump(), "data/planned_models.json");
      TANDEM_CHECK(shape.ok(), shape.error().to_string());
      out.push_back({*std::move(shape), entry.at("window"), entry.at("window_period"),
                     entry.at("shared_ffn"), entry.value("dense_layers", 0),
                     entry.at("shape").value("ffn", std::int64_t{0}), latent_of(entry)});
    }
    return out;
  }();
  return shapes;
}

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool has_name(const KnownShape& shape, std::string_view name) {
  return same_name(shape.spec.name, name) ||
         std::ranges::any_of(shape.aliases, [&](const auto& a) { return same_name(a, name); });
}

// The first layers' experts become one feed-forward of width `width`.
void make_dense(ModelSpec& spec, std::int32_t layers, std::int64_t width) {
  std::erase_if(spec.tensors, [&](const TensorSpec& tensor) {
    return tensor.layer >= 0 && tensor.layer < layers &&
           (tensor.role == TensorRole::kRouter || tensor.name.ends_with(".shared"));
  });
  for (TensorSpec& tensor : spec.tensors) {
    if (tensor.layer < 0 || tensor.layer >= layers) continue;
    const bool down = tensor.role == TensorRole::kExpertDown;
    if (!down && tensor.role != TensorRole::kExpertGate && tensor.role != TensorRole::kExpertUp) {
      continue;
    }
    tensor.num_experts = 1;
    (down ? tensor.columns : tensor.rows) = width;
    tensor.role = down                                     ? TensorRole::kDown
                  : tensor.role == TensorRole::kExpertGate ? TensorRole::kGate
                                                           : TensorRole::kUp;
  }
}

// Matrices of latent attention in place of the usual ones. The two that make the latents are on
// every rank (the role of a norm: replicated), those that unfold them are cut by query heads and
// quantised as queries are: llama-quantize gives more bits to tensors called attn_v, of which there
// is none. (Files since April 2025 have kv_b in two parts, which is the same to a part in 5000.)
void make_latent(ModelSpec& spec, const LatentAttention& latent) {
  AttentionSpec& attention = spec.attention;
  const std::int64_t heads = attention.num_q_heads;
  const std::int64_t hidden = spec.hidden_size;
  std::vector<TensorSpec> tensors;
  for (TensorSpec tensor : spec.tensors) {
    const auto add = [&](TensorRole role, std::int64_t rows, std::int64_t columns,
                         const char* suffix) {
      TensorSpec made = tensor;
      made.role = role;
      made.rows = rows;
      made.columns = columns;
      made.name += suffix;
      tensors.push_back(std::move(made));
    };
    switch (tensor.role) {
      case TensorRole::kQuery: {
        const std::int64_t from = latent.query_rank > 0 ? latent.query_rank : hidden;
        if (latent.query_rank > 0) add(TensorRole::kQueryNorm, from, hidden, ".a");
        add(TensorRole::kQuery, heads * (latent.key_dims + latent.rope_dims), from, ".b");
        break;
      }
      case TensorRole::kKey:
        add(TensorRole::kKeyNorm, latent.latent_rank + latent.rope_dims, hidden, ".kv_a");
        break;
      case TensorRole::kValue:
        add(TensorRole::kQuery, heads * (latent.key_dims + latent.value_dims), latent.latent_rank,
            ".kv_b");
        break;
      case TensorRole::kAttentionOutput:
        add(TensorRole::kAttentionOutput, hidden, heads * latent.value_dims, "");
        break;
      default:
        tensors.push_back(std::move(tensor));
    }
  }
  spec.tensors = std::move(tensors);
  attention.latent_dim = static_cast<std::int32_t>(latent.latent_rank + latent.rope_dims);
}

// The expert that every token passes, as a dense feed-forward beside the routed ones.
void add_shared_expert(ModelSpec& spec, std::int64_t width) {
  std::vector<TensorSpec> added;
  for (const TensorSpec& tensor : spec.tensors) {
    TensorSpec shared = tensor;
    shared.num_experts = 1;
    switch (tensor.role) {
      case TensorRole::kExpertGate:
        shared.role = TensorRole::kGate;
        shared.rows = width;
        break;
      case TensorRole::kExpertUp:
        shared.role = TensorRole::kUp;
        shared.rows = width;
        break;
      case TensorRole::kExpertDown:
        shared.role = TensorRole::kDown;
        shared.columns = width;
        break;
      default:
        continue;
    }
    shared.name += ".shared";
    added.push_back(std::move(shared));
  }
  spec.tensors.insert(spec.tensors.end(), added.begin(), added.end());
}

}  // namespace

std::vector<std::string> plannable_names() {
  std::vector<std::string> names;
  const auto add = [&](const KnownShape& shape) {
    names.push_back(shape.spec.name);
    names.insert(names.end(), shape.aliases.begin(), shape.aliases.end());
  };
  for (const KnownShape& shape : known_shapes()) add(shape);
  for (const PlannedShape& planned : planned_shapes()) add(planned.shape);
  return names;
}

Result<PlannableModel> plannable_model(std::string_view name, std::string_view quant) {
  const auto type = file_type_from_name(quant);
  if (!type) {
    return invalid_argument("unknown quantisation", supported_file_types(), std::string(quant));
  }
  for (const KnownShape& shape : known_shapes()) {
    if (!has_name(shape, name)) continue;
    PlannableModel model{shape.spec, shape.title, shape.source, true};
    assign_tensors(model.spec, *type);
    return model;
  }
  for (const PlannedShape& planned : planned_shapes()) {
    if (!has_name(planned.shape, name)) continue;
    PlannableModel model{planned.shape.spec, planned.shape.title, planned.shape.source, false};
    model.spec.attention.window = planned.window;
    model.spec.attention.window_period = planned.window_period;
    model.spec.tensors = usual_tensors(model.spec, ElementType::kF32);
    if (planned.shared_ffn > 0) add_shared_expert(model.spec, planned.shared_ffn);
    if (planned.dense_layers > 0) {
      make_dense(model.spec, planned.dense_layers, planned.dense_ffn);
    }
    if (planned.latent) make_latent(model.spec, *planned.latent);
    assign_types(model.spec, *type);
    return model;
  }
  return Error{ErrorCode::kNotFound,
               "unknown model; the nearest names are " + nearest_names(name, plannable_names(), 4),
               "--model",
               {},
               std::string(name)};
}

}  // namespace tandem
