#pragma once

#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "model/known_shapes.h"

namespace tandem {

// Reads one entry of data/models.json. Errors name `where`, the model and the field; a field that
// is not known is refused too, for it would otherwise be a typing error without effect.
Result<KnownShape> shape_from_json_value(const nlohmann::json& json, std::string_view where);

}  // namespace tandem
