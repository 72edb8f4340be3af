#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "server/field_reader.h"
#include "server/http/api_error.h"
#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// The request's body as JSON. Empty: the exchange was answered with the error.
std::optional<Json> read_body(HttpExchange& exchange);

// The fields that every generating route has: those of read_sampling(), the token limits
// (max_completion_tokens, max_tokens, n_predict), n, and what the answer must obey (grammar,
// json_schema, response_format). Errors stay with the reader.
void read_generation(FieldReader& reader, const ServedModel& model, GenerationRequest& request);

// Holds the request's answers to `constraint`. An error stays with the reader, under `name`.
void constrain(FieldReader& reader, std::string_view name, const ConstraintRequest& constraint,
               const ServedModel& model, GenerationRequest& request);

struct StreamFields {
  bool stream = false;
  bool include_usage = false;
};
StreamFields read_stream(FieldReader& reader);

// A prompt's tokens, from text or a list of token ids. Errors stay with the reader, under `name`.
std::vector<std::int32_t> read_prompt(FieldReader& reader, std::string_view name,
                                      const Json& prompt, const ServedModel& model);
// Text as the model's input. Nullopt: it is longer than any context could hold.
std::optional<std::vector<std::int32_t>> encode_prompt(const std::string& text,
                                                       const ServedModel& model, bool add_special);

// Status and headers of an answer in server-sent events.
HttpResponse event_stream();
// A line that readers of event streams skip.
inline constexpr const char* kKeepAlive = ": keep-alive\n\n";
// "data: ...\n\n".
std::string event(std::string_view json);

}  // namespace tandem
