#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "text/chat_template.h"

namespace tandem {

// OpenAI's messages in the form that a template of these capabilities understands; see
// ChatTemplate::render. tools: null or an array. Errors: kInvalidArgument that names the message.
Result<nlohmann::ordered_json> adapt_messages(const nlohmann::ordered_json& messages,
                                              const nlohmann::ordered_json* tools,
                                              const ChatCapabilities& capabilities);

// Finds a template's capabilities; `render` shows one request to it.
ChatCapabilities probe_capabilities(const ChatTemplate& chat_template);

}  // namespace tandem
