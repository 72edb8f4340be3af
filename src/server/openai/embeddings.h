#pragma once

#include <memory>

#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// POST /v1/embeddings: vectors of length 1 from the prompts' hidden states.
void serve_embeddings(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
