#pragma once

#include <memory>

#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// POST /completion, as llama-server has it.
void serve_native_completion(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);
// POST /infill: input_prefix, input_suffix, input_extra around a gap. 501 where the vocabulary has
// no tokens for that.
void serve_infill(const ServedModel& model, std::shared_ptr<HttpExchange> exchange);

}  // namespace tandem
