#pragma once

#include <optional>

#include "server/field_reader.h"
#include "server/served_model.h"
#include "text/tool_calls/tool_call_parser.h"

namespace tandem {

// What a chat request says of tools.
struct ChatTools {
  ToolCallParserOptions parser;             // how to read the answer; no names: nothing is called
  std::optional<ConstraintRequest> forced;  // the answer must be calls
};

// `tools`, `tool_choice` (none, auto, required, or a function by its name) and
// `parallel_tool_calls`. Errors stay with the reader.
ChatTools read_tools(FieldReader& reader, const ServedModel& model);

}  // namespace tandem
