#pragma once

#include <memory>
#include <string>

#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// llama-server's small routes.
void serve_tokenize(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);
void serve_detokenize(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);
void serve_apply_template(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);
void serve_props(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);
void serve_slots(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);
// Our own GET /machine: the plan, what the ranks measured, the answers in the making.
void serve_machine(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
