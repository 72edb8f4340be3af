#include "server/openai/chat_writer.h"

#include <fmt/format.h>

#include <utility>

#include "server/json_text.h"

namespace tandem {
namespace {

std::string logprobs_json(std::string_view entries) {
  return fmt::format(R"({{"content":[{}],"refusal":null}})", entries);
}

}  // namespace

ChatWriter::ChatWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                       StreamFields stream, bool with_logprobs)
    : model_(model),
      exchange_(std::move(exchange)),
      stream_(stream),
      with_logprobs_(with_logprobs),
      id_(random_id("chatcmpl-")),
      created_(unix_seconds()) {}

void ChatWriter::write_text(const TextEvent& event) {
  Choice& choice = choices_[event.choice];
  std::string entries;
  if (with_logprobs_) entries = chat_logprob_entries(event.tokens, *model_.tokenizer);
  if (!stream_.stream) {
    choice.content += event.text;
    if (!choice.logprobs.empty() && !entries.empty()) choice.logprobs += ',';
    choice.logprobs += entries;
    return;
  }
  begin(event.choice);
  if (event.text.empty()) return;
  send_delta(event.choice, fmt::format(R"({{"content":{}}})", json_string(event.text)),
             with_logprobs_ ? logprobs_json(entries) : "null", "null");
}

void ChatWriter::begin(std::int32_t index) {
  if (!std::exchange(is_streaming_, true)) exchange_->begin_stream(event_stream());
  if (std::exchange(choices_[index].has_begun, true)) return;
  send_delta(index, R"({"role":"assistant","content":""})", "null", "null");
}

void ChatWriter::send_delta(std::int32_t index, std::string_view delta, std::string_view logprobs,
                            std::string_view finish_reason) {
  send_chunk(fmt::format(R"({{"index":{},"delta":{},"logprobs":{},"finish_reason":{}}})", index,
                         delta, logprobs, finish_reason));
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
  Choice& choice = choices_[event.choice];
  choice.finish_reason = name_of(event.reason);
  if (stream_.stream) {
    begin(event.choice);
    send_delta(event.choice, "{}", "null", "\"" + choice.finish_reason + "\"");
  }
  if (!event.is_last) return;
  if (stream_.stream) {
    end_stream();
  } else {
    respond_whole();
  }
}

void ChatWriter::end_stream() {
  if (stream_.include_usage) send_chunk("", usage_json(totals_));
  exchange_->send(event("[DONE]"));
  exchange_->end_stream();
}

void ChatWriter::respond_whole() {
  std::string choices;
  for (const auto& [index, choice] : choices_) {
    choices += fmt::format(
        R"({}{{"index":{},"message":{{"role":"assistant","content":{},"refusal":null}},"logprobs":{},"finish_reason":"{}"}})",
        choices.empty() ? "" : ",", index, json_string(choice.content),
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

}  // namespace tandem
