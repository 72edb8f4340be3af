#include "server/openai/chat_writer.h"

#include <fmt/format.h>

#include <utility>

#include "server/json_text.h"
#include "server/sampling_fields.h"

namespace tandem {
namespace {

std::string logprobs_json(std::string_view entries) {
  return fmt::format(R"({{"content":[{}],"refusal":null}})", entries);
}

std::string call_json(const ToolCallDelta& call) {
  std::string json = fmt::format(R"({{"index":{})", call.index);
  if (!call.id.empty()) {
    json += fmt::format(R"(,"id":{},"type":"function")", json_string(call.id));
  }
  json += R"(,"function":{)";
  if (!call.name.empty()) json += fmt::format(R"("name":{},)", json_string(call.name));
  return json + fmt::format(R"("arguments":{}}}}})", json_string(call.arguments));
}

std::string delta_json(const ChatDelta& delta) {
  std::string json;
  const auto append = [&](std::string_view name, const std::string& value) {
    json += fmt::format(R"({}"{}":{})", json.empty() ? "" : ",", name, value);
  };
  if (!delta.reasoning.empty()) append("reasoning_content", json_string(delta.reasoning));
  if (!delta.content.empty()) append("content", json_string(delta.content));
  std::string calls;
  for (const ToolCallDelta& call : delta.calls) {
    calls += (calls.empty() ? "" : ",") + call_json(call);
  }
  if (!calls.empty()) append("tool_calls", "[" + calls + "]");
  return "{" + json + "}";
}

}  // namespace

ChatWriter::ChatWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                       StreamFields stream, bool with_logprobs, ToolCallParserOptions parser)
    : model_(model),
      exchange_(std::move(exchange)),
      stream_(stream),
      with_logprobs_(with_logprobs),
      parser_(std::move(parser)),
      id_(random_id("chatcmpl-")),
      created_(unix_seconds()) {}

ChatWriter::Choice& ChatWriter::choice_of(std::int32_t index) {
  const auto found = choices_.find(index);
  if (found != choices_.end()) return found->second;
  ToolCallParserOptions options = parser_;
  options.id_seed = draw_seed();
  return choices_.try_emplace(index, std::move(options)).first->second;
}

void ChatWriter::write_text(const TextEvent& event) {
  Choice& choice = choice_of(event.choice);
  if (with_logprobs_) {
    const std::string entries = chat_logprob_entries(event.tokens, *model_.tokenizer);
    if (!choice.logprobs.empty() && !entries.empty()) choice.logprobs += ',';
    choice.logprobs += entries;
  }
  if (stream_.stream) begin_stream(event.choice);
  take(event.choice, choice.parser.push(event.text));
}

void ChatWriter::take(std::int32_t index, const ChatDelta& delta) {
  if (delta.empty()) return;
  if (stream_.stream) return send_delta(index, delta_json(delta), "null");
  Choice& choice = choice_of(index);
  choice.content += delta.content;
  choice.reasoning += delta.reasoning;
  for (const ToolCallDelta& call : delta.calls) {
    const auto place = static_cast<std::size_t>(call.index);
    if (place >= choice.calls.size()) choice.calls.resize(place + 1);
    if (!call.id.empty()) choice.calls[place].id = call.id;
    choice.calls[place].name += call.name;
    choice.calls[place].arguments += call.arguments;
  }
}

void ChatWriter::begin_stream(std::int32_t index) {
  if (!std::exchange(is_streaming_, true)) exchange_->begin_stream(event_stream());
  if (std::exchange(choice_of(index).has_begun, true)) return;
  send_chunk(fmt::format(
      R"({{"index":{},"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}})",
      index));
}

// With the log-probabilities of all tokens since the last one.
void ChatWriter::send_delta(std::int32_t index, std::string_view delta,
                            std::string_view finish_reason) {
  const std::string entries = std::exchange(choice_of(index).logprobs, {});
  send_chunk(fmt::format(R"({{"index":{},"delta":{},"logprobs":{},"finish_reason":{}}})", index,
                         delta, entries.empty() ? "null" : logprobs_json(entries), finish_reason));
}

void ChatWriter::send_chunk(std::string_view choices, std::string_view usage) {
  std::string text = fmt::format(
      R"({{"id":"{}","object":"chat.completion.chunk","created":{},"model":{},"system_fingerprint":"tandem","choices":[{}])",
      id_, created_, json_string(model_.name), choices);
  if (stream_.include_usage) text += fmt::format(R"(,"usage":{})", usage);
  if (choices.empty()) text += R"(,"timings":)" + timings_json(totals_);
  exchange_->send(event(text + "}"));
}

void ChatWriter::write_finish(const FinishEvent& event) {
  totals_.add(event, event.choice == 0);
  Choice& choice = choice_of(event.choice);
  if (stream_.stream) begin_stream(event.choice);
  take(event.choice, choice.parser.finish());
  const bool calls = choice.parser.num_calls() > 0 && event.reason != FinishReason::kLength;
  choice.finish_reason = calls ? "tool_calls" : name_of(event.reason);
  if (stream_.stream) send_delta(event.choice, "{}", "\"" + choice.finish_reason + "\"");
  if (!event.is_last) return;
  if (stream_.stream) {
    end_stream();
  } else {
    respond_whole();
  }
}

std::string ChatWriter::message_json(const Choice& choice) const {
  std::string calls;
  for (const Call& call : choice.calls) {
    calls +=
        fmt::format(R"({}{{"id":{},"type":"function","function":{{"name":{},"arguments":{}}}}})",
                    calls.empty() ? "" : ",", json_string(call.id), json_string(call.name),
                    json_string(call.arguments));
  }
  const bool is_silent = choice.content.empty() && !choice.calls.empty();
  std::string json = fmt::format(R"({{"role":"assistant","content":{},"refusal":null)",
                                 is_silent ? "null" : json_string(choice.content));
  if (!choice.reasoning.empty()) {
    json += R"(,"reasoning_content":)" + json_string(choice.reasoning);
  }
  if (!calls.empty()) json += fmt::format(R"(,"tool_calls":[{}])", calls);
  return json + "}";
}

void ChatWriter::end_stream() {
  if (stream_.include_usage) send_chunk("", usage_json(totals_));
  exchange_->send(event("[DONE]"));
  exchange_->end_stream();
}

void ChatWriter::respond_whole() {
  std::string choices;
  for (const auto& [index, choice] : choices_) {
    choices +=
        fmt::format(R"({}{{"index":{},"message":{},"logprobs":{},"finish_reason":"{}"}})",
                    choices.empty() ? "" : ",", index, message_json(choice),
                    with_logprobs_ ? logprobs_json(choice.logprobs) : "null", choice.finish_reason);
  }
  HttpResponse response;
  response.body = fmt::format(
      R"({{"id":"{}","object":"chat.completion","created":{},"model":{},"system_fingerprint":"tandem","choices":[{}],"usage":{},"timings":{}}})",
      id_, created_, json_string(model_.name), choices, usage_json(totals_), timings_json(totals_));
  exchange_->respond(std::move(response));
}

void ChatWriter::write_error(const ApiError& error) {
  if (!is_streaming_) return refuse(*exchange_, error);
  exchange_->send(event(error_json(error, Dialect::kOpenAi)));
  exchange_->end_stream();
}

void ChatWriter::write_keep_alive() {
  if (!stream_.stream) return;
  begin_stream(0);
  exchange_->send(kKeepAlive);
}

}  // namespace tandem
