#include "server/openai/responses.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/openai/chat.h"
#include "server/openai/response_writer.h"
#include "server/request_fields.h"

namespace tandem {
namespace {

// The text of an item's content: a string, or a list of parts that are text.
std::string read_content(FieldReader& reader, const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  for (const Json& part : content.is_array() ? content : Json::array({0})) {
    const std::string type = part.is_object() ? part.value("type", "") : "";
    const bool is_text = type == "input_text" || type == "output_text" || type == "text";
    if (!is_text || !part.contains("text") || !part["text"].is_string()) {
      reader.fail("input", "'input': only content of text is supported");
      break;
    }
    text += part["text"].get<std::string>();
  }
  return text;
}

void add_item(FieldReader& reader, const Json& item, Json& messages) {
  const auto type = item.is_object() ? item.find("type") : item.end();
  const bool is_message = item.is_object() && (type == item.end() || *type == "message");
  if (item.is_object() && type != item.end() && *type == "reasoning") return;  // was its own
  if (!is_message || !item.contains("role") || !item["role"].is_string() ||
      !item.contains("content")) {
    return reader.fail("input", "'input' must be text or a list of messages");
  }
  messages.push_back({{"role", item["role"].get<std::string>()},
                      {"content", read_content(reader, item["content"])}});
}

// The request as one of the chat API's.
Json to_chat(FieldReader& reader) {
  Json messages = Json::array();
  std::string instructions;
  reader.read("instructions", instructions);
  if (!instructions.empty()) {
    messages.push_back({{"role", "system"}, {"content", instructions}});
  }
  const Json* input = reader.find("input");
  if (input != nullptr && input->is_string()) {
    messages.push_back({{"role", "user"}, {"content", input->get<std::string>()}});
  } else if (input != nullptr && input->is_array() && !input->empty()) {
    for (const Json& item : *input) add_item(reader, item, messages);
  } else {
    reader.fail("input", "'input' must be text or a list of messages");
  }
  return {{"messages", std::move(messages)}};
}

// What this server cannot do must not be passed over: an answer without it would be wrong.
void refuse_unsupported(FieldReader& reader) {
  for (const char* name : {"previous_response_id", "conversation", "prompt"}) {
    if (reader.has(name)) {
      reader.fail(name, fmt::format("'{}' is not supported: nothing is stored here", name));
    }
  }
  const Json* tools = reader.find("tools");
  if (tools != nullptr && !(tools->is_array() && tools->empty())) {
    reader.fail("tools", "'tools' is not supported here; /v1/chat/completions has them");
  }
  bool background = false;
  reader.read("background", background);
  if (background) reader.fail("background", "'background' is not supported");
}

// text.format, which says flat what response_format wraps.
void read_format(FieldReader& reader, const ServedModel& model, GenerationRequest& request) {
  const Json* text = reader.find("text");
  if (text == nullptr || !text->is_object() || !text->contains("format")) return;
  const Json wrapped = {{"response_format", text->at("format")}};
  FieldReader nested(wrapped);
  GenerationRequest formatted;
  read_generation(nested, model, formatted);
  if (nested.error()) reader.fail("text.format", nested.error()->message);
  if (formatted.make_constraint) request.make_constraint = std::move(formatted.make_constraint);
}

}  // namespace

void serve_responses(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  GenerationRequest request;
  read_generation(reader, model, request);
  if (request.num_choices != 1) reader.fail("n", "'n' must be 1 here");
  reader.read("max_output_tokens", request.max_tokens, 1, std::numeric_limits<std::int32_t>::max());
  read_format(reader, model, request);
  refuse_unsupported(reader);
  bool stream = false;
  reader.read("stream", stream);
  const Json chat = to_chat(reader);
  std::optional<ToolCallParserOptions> parser;
  if (!reader.error()) {
    FieldReader nested(chat);
    parser = read_chat(nested, model, request);
    if (nested.error()) reader.fail("input", nested.error()->message);
  }
  if (reader.error()) return refuse(*exchange, *reader.error());
  auto writer = std::make_unique<ResponseWriter>(model, exchange, stream, request.sampling,
                                                 std::move(*parser));
  std::vector<GenerationRequest> requests;
  requests.push_back(std::move(request));
  run_generation(model, exchange, std::move(requests), std::move(writer));
}

}  // namespace tandem
