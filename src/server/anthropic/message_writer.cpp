#include "server/anthropic/message_writer.h"

#include <fmt/format.h>

#include <utility>

#include "server/answer_json.h"
#include "server/json_text.h"

namespace tandem {
namespace {

std::string stop_json(const FinishEvent& event) {
  const std::string_view reason = event.reason == FinishReason::kStopText ? "stop_sequence"
                                  : event.reason == FinishReason::kLength ? "max_tokens"
                                                                          : "end_turn";
  return fmt::format(
      R"("stop_reason":"{}","stop_sequence":{})", reason,
      event.reason == FinishReason::kStopText ? json_string(event.stop_text) : "null");
}

}  // namespace

MessageWriter::MessageWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                             bool stream, std::int32_t prompt_tokens)
    : model_(model),
      exchange_(std::move(exchange)),
      stream_(stream),
      prompt_tokens_(prompt_tokens),
      id_(random_id("msg_")) {}

std::string MessageWriter::message_json(std::string_view content, std::string_view stop,
                                        std::string_view usage) const {
  return fmt::format(
      R"({{"id":"{}","type":"message","role":"assistant","model":{},"content":[{}],{},"usage":{}}})",
      id_, json_string(model_.name), content, stop, usage);
}

void MessageWriter::send(std::string_view name, std::string_view fields) {
  exchange_->send(fmt::format("event: {}\ndata: {{\"type\":\"{}\"{}}}\n\n", name, name, fields));
}

void MessageWriter::begin_stream() {
  if (std::exchange(is_streaming_, true)) return;
  exchange_->begin_stream(event_stream());
  const std::string usage =
      fmt::format(R"({{"input_tokens":{},"output_tokens":0}})", prompt_tokens_);
  send("message_start",
       R"(,"message":)" + message_json("", R"("stop_reason":null,"stop_sequence":null)", usage));
  send("content_block_start", R"(,"index":0,"content_block":{"type":"text","text":""})");
}

void MessageWriter::write_text(const TextEvent& event) {
  if (!stream_) {
    text_ += event.text;
    return;
  }
  if (event.text.empty()) return;
  begin_stream();
  send("content_block_delta", fmt::format(R"(,"index":0,"delta":{{"type":"text_delta","text":{}}})",
                                          json_string(event.text)));
}

void MessageWriter::write_finish(const FinishEvent& event) {
  if (!stream_) {
    const std::string usage =
        fmt::format(R"({{"input_tokens":{},"cache_read_input_tokens":{},"output_tokens":{}}})",
                    prompt_tokens_, event.usage.cached_tokens, event.usage.completion_tokens);
    HttpResponse response;
    response.body = message_json(fmt::format(R"({{"type":"text","text":{}}})", json_string(text_)),
                                 stop_json(event), usage);
    return exchange_->respond(std::move(response));
  }
  begin_stream();
  send("content_block_stop", R"(,"index":0)");
  send("message_delta", fmt::format(R"(,"delta":{{{}}},"usage":{{"output_tokens":{}}})",
                                    stop_json(event), event.usage.completion_tokens));
  send("message_stop", "");
  exchange_->end_stream();
}

void MessageWriter::write_error(const ApiError& error) {
  if (!is_streaming_) return refuse(*exchange_, error);
  exchange_->send("event: error\ndata: " + error_json(error, Dialect::kAnthropic) + "\n\n");
  exchange_->end_stream();
}

}  // namespace tandem
