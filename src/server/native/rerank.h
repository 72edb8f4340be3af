#pragma once

#include <memory>

#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// POST /rerank: query, documents, top_n. 501 where the model has no head that ranks.
void serve_rerank(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
