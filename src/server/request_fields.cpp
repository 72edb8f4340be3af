#include "server/request_fields.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "server/sampling_fields.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

// No vocabulary has longer tokens on average: text of more bytes needs no tokenizer to be refused.
constexpr std::size_t kMaxBytesPerToken = 128;

ConstraintRequest constraint_of(ConstraintRequest::Kind kind, std::string text) {
  ConstraintRequest request;
  request.kind = kind;
  request.text = std::move(text);
  return request;
}

std::optional<ConstraintRequest> read_response_format(FieldReader& reader) {
  const Json* format = reader.find("response_format");
  if (format == nullptr) return std::nullopt;
  const auto fail = [&](std::string message) {
    reader.fail("response_format", std::move(message));
    return std::nullopt;
  };
  if (!format->is_object()) return fail("'response_format' must be an object");
  const auto type = format->find("type");
  if (type == format->end() || !type->is_string()) {
    return fail("'response_format.type' must be a string");
  }
  const auto name = type->get<std::string>();
  if (name == "text") return std::nullopt;
  const auto wrapped = format->find("json_schema");
  const Json* schema = wrapped == format->end() ? nullptr : &*wrapped;
  if (schema != nullptr && schema->is_object() && schema->contains("schema")) {
    schema = &schema->at("schema");
  } else if (const auto bare = format->find("schema"); bare != format->end()) {
    schema = &*bare;
  }
  if (name == "json_object") {
    if (schema == nullptr) return constraint_of(ConstraintRequest::Kind::kJsonObject, {});
  } else if (name != "json_schema") {
    return fail("'response_format.type' must be text, json_object or json_schema");
  }
  if (schema == nullptr || !(schema->is_object() || schema->is_boolean())) {
    return fail("'response_format.json_schema.schema' must be an object");
  }
  return constraint_of(ConstraintRequest::Kind::kJsonSchema, schema->dump());
}

// `field`: becomes the name of the field that said it.
std::optional<ConstraintRequest> read_constraint(FieldReader& reader, std::string_view& field) {
  std::string grammar;
  field = "grammar";
  reader.read(field, grammar);
  if (!grammar.empty()) return constraint_of(ConstraintRequest::Kind::kGbnf, std::move(grammar));
  field = "json_schema";
  if (const Json* schema = reader.find(field)) {
    if (schema->is_object() && !schema->empty()) {
      return constraint_of(ConstraintRequest::Kind::kJsonSchema, schema->dump());
    }
  }
  field = "response_format";
  return read_response_format(reader);
}

}  // namespace

std::optional<Json> read_body(HttpExchange& exchange) {
  auto parsed = parse_body(exchange.request().body);
  if (auto* json = std::get_if<Json>(&parsed)) return std::move(*json);
  refuse(exchange, std::get<ApiError>(parsed));
  return std::nullopt;
}

void read_generation(FieldReader& reader, const ServedModel& model, GenerationRequest& request) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  request.sampling = model.default_sampling;
  request.max_tokens = model.default_max_tokens;
  reader.read("n_predict", request.max_tokens, -2, kMost);
  reader.read("max_tokens", request.max_tokens, -1, kMost);
  reader.read("max_completion_tokens", request.max_tokens, -1, kMost);
  reader.read("n", request.num_choices, 1, LlmEngine::kMaxChoices);
  read_sampling(reader, *model.tokenizer, request);
  std::string_view field;
  const auto constraint = read_constraint(reader, field);
  if (constraint && !reader.error()) constrain(reader, field, *constraint, model, request);
}

void constrain(FieldReader& reader, std::string_view name, const ConstraintRequest& constraint,
               const ServedModel& model, GenerationRequest& request) {
  if (!model.make_constraint) return reader.fail(name, "grammars are not supported here");
  auto maker = model.make_constraint(constraint);
  if (!maker.ok()) return reader.fail(name, maker.error().to_string());
  request.make_constraint = std::move(*maker);
}

StreamFields read_stream(FieldReader& reader) {
  StreamFields fields;
  reader.read("stream", fields.stream);
  const Json* options = reader.find("stream_options");
  if (options == nullptr) return fields;
  if (!options->is_object()) {
    reader.fail("stream_options", "'stream_options' must be an object");
    return fields;
  }
  FieldReader nested(*options);
  nested.read("include_usage", fields.include_usage);
  if (nested.error()) reader.fail("stream_options", nested.error()->message);
  return fields;
}

std::optional<std::vector<std::int32_t>> encode_prompt(const std::string& text,
                                                       const ServedModel& model, bool add_special) {
  const auto context = static_cast<std::size_t>(model.engine->stats().max_context_tokens);
  if (text.size() > context * kMaxBytesPerToken) return std::nullopt;
  return model.tokenizer->encode(text, {.add_special = add_special, .parse_special = true});
}

std::vector<std::int32_t> read_prompt(FieldReader& reader, std::string_view name,
                                      const Json& prompt, const ServedModel& model) {
  if (prompt.is_string()) {
    auto tokens = encode_prompt(prompt.get<std::string>(), model, true);
    if (tokens && !tokens->empty()) return std::move(*tokens);
    reader.fail(name, tokens ? "the prompt is empty" : "the prompt does not fit the context");
    return {};
  }
  std::vector<std::int32_t> tokens;
  const auto fail = [&] {
    reader.fail(name, fmt::format("'{}' must be text or token ids of the vocabulary", name));
    return std::vector<std::int32_t>();
  };
  if (!prompt.is_array() || prompt.empty()) return fail();
  for (const Json& entry : prompt) {
    // llama-server takes lists that mix texts and ids.
    if (entry.is_string()) {
      const auto more = encode_prompt(entry.get<std::string>(), model, tokens.empty());
      if (!more) return fail();
      tokens.insert(tokens.end(), more->begin(), more->end());
    } else if (entry.is_number_integer()) {
      const auto id = entry.get<std::int64_t>();
      if (id < 0 || id >= model.tokenizer->vocabulary().size()) return fail();
      tokens.push_back(static_cast<std::int32_t>(id));
    } else {
      return fail();
    }
  }
  return tokens;
}

HttpResponse event_stream() {
  HttpResponse response;
  response.content_type = "text/event-stream; charset=utf-8";
  response.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  return response;
}

std::string event(std::string_view json) {
  std::string text = "data: ";
  text += json;
  text += "\n\n";
  return text;
}

}  // namespace tandem
