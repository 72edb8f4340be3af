#pragma once

#include <memory>

#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// POST /embedding, as llama-server has it: content (or input), embd_normalize.
void serve_native_embedding(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
