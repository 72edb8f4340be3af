#pragma once

#include <memory>

#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// POST /v1/responses: text in, text out. Nothing is stored, and tools are refused.
void serve_responses(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
