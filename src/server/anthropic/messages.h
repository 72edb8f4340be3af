#pragma once

#include <memory>

#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// POST /v1/messages: Anthropic's form of a chat, with text and tools.
void serve_messages(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);
// POST /v1/messages/count_tokens
void serve_count_tokens(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
