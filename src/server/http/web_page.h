#pragma once

#include "server/http/http_exchange.h"

namespace tandem {

// GET /: the page built from web/, embedded in the program as one file.
void serve_web_page(HttpExchange& exchange);

}  // namespace tandem
