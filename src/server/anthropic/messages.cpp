#include "server/anthropic/messages.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/anthropic/message_writer.h"
#include "server/openai/chat.h"
#include "server/sampling_fields.h"

namespace tandem {
namespace {

// The text of a content: a string, or a list of text blocks. Errors stay with the reader.
std::string read_content(FieldReader& reader, std::string_view name, const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  const auto fail = [&](std::string_view message) {
    reader.fail(name, fmt::format("'{}': {}", name, message));
    return std::string();
  };
  if (!content.is_array()) return fail("the content must be text or a list of blocks");
  for (const Json& block : content) {
    if (!block.is_object() || block.value("type", "") != "text") {
      return fail("blocks other than text are not supported");
    }
    const auto found = block.find("text");
    if (found == block.end() || !found->is_string()) return fail("a text block without text");
    text += found->get<std::string>();
  }
  return text;
}

// The same conversation in OpenAI's form, which templates know.
Json to_openai(FieldReader& reader) {
  Json messages = Json::array();
  if (const Json* system = reader.find("system")) {
    messages.push_back({{"role", "system"}, {"content", read_content(reader, "system", *system)}});
  }
  const Json* given = reader.find("messages");
  if (given == nullptr || !given->is_array() || given->empty()) {
    reader.fail("messages", "'messages' must be a list of at least one message");
    return messages;
  }
  for (const Json& message : *given) {
    const bool is_message = message.is_object() && message.contains("content") &&
                            message.contains("role") && message.at("role").is_string();
    if (!is_message) {
      reader.fail("messages", "'messages' must hold objects with 'role' and 'content'");
      break;
    }
    messages.push_back({{"role", message.at("role").get<std::string>()},
                        {"content", read_content(reader, "messages", message.at("content"))}});
  }
  if (reader.has("tools")) reader.fail("tools", "'tools' is not supported on this route");
  return messages;
}

std::vector<std::int32_t> read_message_prompt(FieldReader& reader, const ServedModel& model) {
  Json chat = {{"messages", to_openai(reader)}};
  if (reader.error()) return {};
  FieldReader nested(chat);
  auto prompt = read_chat_prompt(nested, model);
  if (nested.error()) reader.fail(nested.error()->param, nested.error()->message);
  return prompt;
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
  if (!reader.error()) request.prompt = read_message_prompt(reader, model);
  if (reader.error()) return refuse(*exchange, *reader.error());
  const auto prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
  auto writer = std::make_unique<MessageWriter>(model, exchange, stream, prompt_tokens);
  std::vector<GenerationRequest> requests;
  requests.push_back(std::move(request));
  run_generation(model, exchange, std::move(requests), std::move(writer));
}

void serve_count_tokens(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  const auto prompt = read_message_prompt(reader, model);
  if (reader.error()) return refuse(*exchange, *reader.error());
  HttpResponse response;
  response.body = fmt::format(R"({{"input_tokens":{}}})", prompt.size());
  exchange->respond(std::move(response));
}

}  // namespace tandem
