#pragma once

#include "server/field_reader.h"

namespace tandem {

// A request of /v1/messages as one of the chat API's: `messages`, `tools`, `tool_choice` and
// `parallel_tool_calls`, which templates know. Blocks of text, tool_use, tool_result and thinking
// are understood. Errors stay with the reader.
Json to_openai_chat(FieldReader& reader);

}  // namespace tandem
