#pragma once

#include <string>

#include "server/http/api_error.h"
#include "server/http/http_exchange.h"

namespace tandem {

void respond_json(HttpExchange& exchange, std::string body);
// 404: `name` is what the client said.
ApiError no_such_model(const std::string& name);

}  // namespace tandem
