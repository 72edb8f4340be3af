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

struct PlannedShape {
  KnownShape shape;
  std::int32_t window = 0;
  std::int32_t window_period = 0;
  std::int64_t shared_ffn = 0;
};

const std::vector<PlannedShape>& planned_shapes() {
  static const std::vector<PlannedShape> shapes = [] {
    std::vector<PlannedShape> out;
    const nlohmann::json json = nlohmann::json::parse(data::kPlannedModelsJson);
    for (const auto& entry : json.at("models")) {
      auto shape = shape_from_json(entry.at("shape").dump(), "data/planned_models.json");
      TANDEM_CHECK(shape.ok(), shape.error().to_string());
      out.push_back({*std::move(shape), entry.at("window"), entry.at("window_period"),
                     entry.at("shared_ffn")});
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
    assign_tensors(model.spec, *type);
    if (planned.shared_ffn > 0) add_shared_expert(model.spec, planned.shared_ffn);
    return model;
  }
  return Error{ErrorCode::kNotFound,
               "unknown model; the nearest names are " + nearest_names(name, plannable_names(), 4),
               "--model",
               {},
               std::string(name)};
}

}  // namespace tandem
