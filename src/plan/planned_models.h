#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/model_spec.h"

namespace tandem {

// A model to plan for, by name: one that Tandem runs (model/known_shapes.h) or one that it only
// plans for (data/planned_models.json).
struct PlannableModel {
  ModelSpec spec;  // with tensors
  std::string title;
  std::string source;
  bool runnable = true;
};

// `quant`: a file type ("q4_k_m"). kNotFound names the nearest models, kInvalidArgument the file
// types.
Result<PlannableModel> plannable_model(std::string_view name, std::string_view quant);

// All names, aliases included.
std::vector<std::string> plannable_names();

}  // namespace tandem
