#pragma once

#include <memory>

#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// POST /v1/completions
void serve_completions(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
