#include "server/openai/chat.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "server/generation_run.h"
#include "server/openai/chat_tools.h"
#include "server/openai/chat_writer.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

bool is_list_of_objects(const Json& json) {
  if (!json.is_array()) return false;
  for (const Json& entry : json) {
    if (!entry.is_object()) return false;
  }
  return true;
}

// -1 where none are wanted.
std::int32_t read_logprobs(FieldReader& reader) {
  bool wanted = false;
  std::int32_t likeliest = 0;
  reader.read("logprobs", wanted);
  reader.read("top_logprobs", likeliest, 0, 20);
  if (!wanted && likeliest > 0) {
    reader.fail("top_logprobs", "'top_logprobs' needs 'logprobs' to be true");
  }
  return wanted ? likeliest : -1;
}

// Some templates begin the answer's thought themselves.
bool ends_in_thought(std::string_view prompt) {
  const auto end = prompt.find_last_not_of(" \n");
  return end != std::string_view::npos && prompt.substr(0, end + 1).ends_with("<think>");
}

}  // namespace

std::string render_chat(FieldReader& reader, const ServedModel& model) {
  const Json* messages = reader.find("messages");
  if (messages == nullptr || !is_list_of_objects(*messages) || messages->empty()) {
    reader.fail("messages", "'messages' must be a list of at least one message");
    return {};
  }
  ChatRequest request;
  request.messages = messages;
  request.tools = reader.find("tools");
  if (request.tools != nullptr && !is_list_of_objects(*request.tools)) {
    reader.fail("tools", "'tools' must be a list of tools");
  }
  if (request.tools != nullptr && request.tools->empty()) request.tools = nullptr;
  const Json* choice = reader.find("tool_choice");
  if (choice != nullptr && *choice == "none") request.tools = nullptr;
  request.extra = reader.find("chat_template_kwargs");
  if (request.extra != nullptr && !request.extra->is_object()) {
    reader.fail("chat_template_kwargs", "'chat_template_kwargs' must be an object");
  }
  reader.read("add_generation_prompt", request.add_generation_prompt);
  if (reader.error()) return {};
  auto text = model.chat_template->render(request);
  if (text.ok()) return std::move(*text);
  reader.fail("messages", text.error().to_string());
  return {};
}

std::vector<std::int32_t> read_chat_prompt(FieldReader& reader, const ServedModel& model) {
  const std::string text = render_chat(reader, model);
  return reader.error() ? std::vector<std::int32_t>() : encode_chat(reader, model, text);
}

std::vector<std::int32_t> encode_chat(FieldReader& reader, const ServedModel& model,
                                      const std::string& text) {
  // Most templates begin with the token that the tokenizer would add.
  const auto bos = model.tokenizer->vocabulary().special().bos;
  const bool has_bos = bos && text.starts_with(model.tokenizer->vocabulary().token(*bos).text);
  auto tokens = encode_prompt(text, model, !has_bos);
  if (tokens && !tokens->empty()) return std::move(*tokens);
  reader.fail("messages", "the messages do not fit the context");
  return {};
}

std::optional<ToolCallParserOptions> read_chat(FieldReader& reader, const ServedModel& model,
                                               GenerationRequest& request) {
  ChatTools tools = read_tools(reader, model);
  // Some models mark calls by control tokens.
  request.render_special = !tools.parser.tool_names.empty();
  if (tools.forced && request.make_constraint) {
    reader.fail("tool_choice", "a forced call and another grammar cannot both be obeyed");
  }
  if (reader.error()) return std::nullopt;
  if (tools.forced) constrain(reader, "tools", *tools.forced, model, request);
  const std::string text = render_chat(reader, model);
  // Who must call at once has no room for a thought.
  tools.parser.starts_in_reasoning = !tools.forced && ends_in_thought(text);
  if (!reader.error()) request.prompt = encode_chat(reader, model, text);
  if (reader.error()) return std::nullopt;
  return std::move(tools.parser);
}

void serve_chat(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  GenerationRequest request;
  read_generation(reader, model, request);
  const StreamFields stream = read_stream(reader);
  request.sampling.num_logprobs = read_logprobs(reader);
  auto parser = read_chat(reader, model, request);
  if (!parser) return refuse(*exchange, *reader.error());
  auto writer = std::make_unique<ChatWriter>(
      model, exchange, stream, request.sampling.num_logprobs >= 0, std::move(*parser));
  std::vector<GenerationRequest> requests;
  requests.push_back(std::move(request));
  run_generation(model, exchange, std::move(requests), std::move(writer));
}

}  // namespace tandem
