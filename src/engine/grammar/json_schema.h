#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "engine/grammar/grammar.h"
#include "engine/grammar/json_rules.h"

namespace tandem {

// A grammar of the JSON texts that satisfy `schema` (JSON Schema 2020-12, the part that a grammar
// can say), with white space between tokens kept short.
//
// Properties come in the schema's order. Without `additionalProperties` an object that names
// properties has no others, and an array with `prefixItems` but without `items` no more (as in
// llama.cpp, unlike JSON Schema). Annotations, and formats that are not known, are ignored.
// Errors: kUnsupported for keywords whose meaning would be lost (not, if, patternProperties,
// uniqueItems, multipleOf, ...), kInvalidArgument for a malformed schema, one that nothing
// satisfies, or one that is too deep (100) or too large; each with the place in the schema.
Result<Grammar> grammar_of_json_schema(const nlohmann::ordered_json& schema);

// The same as a rule of a larger grammar. After an error the builder is of no more use.
Result<std::int32_t> add_json_schema(GrammarBuilder& builder, JsonRules& rules,
                                     const nlohmann::ordered_json& schema);

// Any JSON object: OpenAI's response_format json_object.
Result<Grammar> any_json_object_grammar();

}  // namespace tandem
