#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "engine/grammar/grammar.h"
#include "text/tool_calls/tool_call_format.h"

namespace tandem {

// A grammar of answers that are calls of `tools` and nothing else, written as `format` has it: for
// tool_choice "required", or (with one tool) for a named one.
// tools: OpenAI's array of {"type":"function","function":{"name","parameters"}}. Arguments obey the
// tool's schema; where that says what no grammar can, any object is taken, unless the function is
// marked "strict". `parallel`: several calls may follow each other.
// Errors: kInvalidArgument for no tools or one without a name; those of grammar_of_json_schema.
Result<Grammar> tool_call_grammar(ToolCallFormat format, const nlohmann::ordered_json& tools,
                                  bool parallel);

}  // namespace tandem
