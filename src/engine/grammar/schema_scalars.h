#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/grammar/json_rules.h"

namespace tandem {

// The parts of a JSON schema that say what a string or a number may be. The type itself has been
// looked at. Errors as grammar_of_json_schema's, without the place.
Result<GrammarExpr> convert_string(const nlohmann::ordered_json& schema, JsonRules& rules);
Result<GrammarExpr> convert_number(const nlohmann::ordered_json& schema, bool is_integer,
                                   JsonRules& rules);

// A keyword that counts: nullopt where it is absent, or a maximum beyond any answer's length.
Result<std::optional<std::int32_t>> count_of(const nlohmann::ordered_json& schema, const char* key);
// `part` so many times; an error where the maximum is below the minimum.
Result<GrammarExpr> counted(GrammarExpr part, std::int32_t min_count,
                            std::optional<std::int32_t> max_count);

// As compact JSON; what is not UTF-8 is replaced.
std::string json_text_of(const nlohmann::ordered_json& json);

// A JSON string that is none of `names`, for members beside those that a schema names. (One that
// spells a name with needless escapes gets through.) Errors: kUnsupported for very long or very
// many names.
Result<GrammarExpr> other_key_expr(const std::vector<std::string>& names, JsonRules& rules);

}  // namespace tandem
