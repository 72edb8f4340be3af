#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/http/http_exchange.h"
#include "server/request_fields.h"
#include "server/served_model.h"
#include "text/tool_calls/tool_call_parser.h"

namespace tandem {

// The text of a request's messages, tools and chat_template_kwargs through the model's template.
// Errors stay with the reader.
std::string render_chat(FieldReader& reader, const ServedModel& model);
// The text as tokens.
std::vector<std::int32_t> encode_chat(FieldReader& reader, const ServedModel& model,
                                      const std::string& text);
// Both.
std::vector<std::int32_t> read_chat_prompt(FieldReader& reader, const ServedModel& model);

// Messages and tools, into the request's prompt and constraint. Returns how to take the answer
// apart; nullopt: the reader has the error.
std::optional<ToolCallParserOptions> read_chat(FieldReader& reader, const ServedModel& model,
                                               GenerationRequest& request);

// POST /v1/chat/completions
void serve_chat(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
