#include "server/anthropic/messages.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "server/anthropic/message_writer.h"
#include "server/anthropic/openai_form.h"
#include "server/openai/chat.h"
#include "server/sampling_fields.h"

namespace tandem {
namespace {

// Messages and tools. Nullopt: the reader has the error.
std::optional<ToolCallParserOptions> read_conversation(FieldReader& reader,
                                                       const ServedModel& model,
                                                       GenerationRequest& request) {
  const Json chat = to_openai_chat(reader);
  if (reader.error()) return std::nullopt;
  FieldReader nested(chat);
  auto parser = read_chat(nested, model, request);
  if (nested.error()) reader.fail(nested.error()->param, nested.error()->message);
  return parser;
}

}  // namespace

void serve_messages(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  GenerationRequest request;
  request.sampling = model.default_sampling;
  bool stream = false;
  if (!reader.has("max_tokens")) reader.fail("max_tokens", "'max_tokens' is missing");
  reader.read("max_tokens", request.max_tokens, 1, std::numeric_limits<std::int32_t>::max());
  reader.read("stream", stream);
  read_sampling(reader, *model.tokenizer, request);
  reader.read("stop_sequences", request.stop, 256);
  std::optional<ToolCallParserOptions> parser;
  if (!reader.error()) parser = read_conversation(reader, model, request);
  if (!parser) return refuse(*exchange, *reader.error());
  const auto prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
  auto writer =
      std::make_unique<MessageWriter>(model, exchange, stream, prompt_tokens, std::move(*parser));
  std::vector<GenerationRequest> requests;
  requests.push_back(std::move(request));
  run_generation(model, exchange, std::move(requests), std::move(writer));
}

void serve_count_tokens(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  GenerationRequest request;
  if (!read_conversation(reader, model, request)) return refuse(*exchange, *reader.error());
  HttpResponse response;
  response.body = fmt::format(R"({{"input_tokens":{}}})", request.prompt.size());
  exchange->respond(std::move(response));
}

}  // namespace tandem
