#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace tandem {

// What `schema`'s `$ref` (a JSON pointer into `root`, "#" or "#/...") points to.
// Errors: kUnsupported for other documents, kInvalidArgument where nothing is there.
Result<const nlohmann::ordered_json*> resolve_ref(const nlohmann::ordered_json& root,
                                                  const std::string& ref);

// A schema that holds where both hold: properties joined, bounds narrowed, types intersected.
// Errors: kUnsupported where two different values of a keyword cannot be joined.
Result<nlohmann::ordered_json> merge_schemas(const nlohmann::ordered_json& a,
                                             const nlohmann::ordered_json& b);

}  // namespace tandem
