#include "server/anthropic/message_writer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/answer_json.h"
#include "server/json_text.h"
#include "server/sampling_fields.h"

namespace tandem {
namespace {

std::string stop_json(const FinishEvent& event, bool has_calls) {
  const std::string_view reason = event.reason == FinishReason::kStopText ? "stop_sequence"
                                  : event.reason == FinishReason::kLength ? "max_tokens"
                                  : has_calls                             ? "tool_use"
                                                                          : "end_turn";
  return fmt::format(
      R"("stop_reason":"{}","stop_sequence":{})", reason,
      event.reason == FinishReason::kStopText ? json_string(event.stop_text) : "null");
}

// Anthropic counts what the cache held apart from the other input.
std::string usage_of(const FinishEvent& event, std::int32_t prompt_tokens) {
  return fmt::format(
      R"({{"input_tokens":{},"cache_creation_input_tokens":0,"cache_read_input_tokens":{},"output_tokens":{}}})",
      prompt_tokens - event.usage.cached_tokens, event.usage.cached_tokens,
      event.usage.completion_tokens);
}

ToolCallParserOptions with_fresh_ids(ToolCallParserOptions options) {
  options.id_seed = draw_seed();
  return options;
}

}  // namespace

MessageWriter::MessageWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                             bool stream, std::int32_t prompt_tokens, ToolCallParserOptions parser)
    : model_(model),
      exchange_(std::move(exchange)),
      stream_(stream),
      prompt_tokens_(prompt_tokens),
      id_(random_id("msg_")),
      parser_(with_fresh_ids(std::move(parser))) {}

std::string MessageWriter::message_json(std::string_view content, std::string_view stop,
                                        std::string_view usage) const {
  return fmt::format(
      R"({{"id":"{}","type":"message","role":"assistant","model":{},"content":[{}],{},"usage":{}}})",
      id_, json_string(model_.name), content, stop, usage);
}

std::string MessageWriter::block_json(const Block& block) {
  if (block.kind == Block::Kind::kText) {
    return fmt::format(R"({{"type":"text","text":{}}})", json_string(block.text));
  }
  if (block.kind == Block::Kind::kThinking) {
    return fmt::format(R"({{"type":"thinking","thinking":{},"signature":""}})",
                       json_string(block.text));
  }
  // An input that was cut off at the token limit is no JSON.
  const bool is_object = nlohmann::json::accept(block.text) && block.text.starts_with('{');
  return fmt::format(R"({{"type":"tool_use","id":{},"name":{},"input":{}}})", json_string(block.id),
                     json_string(block.name), is_object ? block.text : "{}");
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
}

void MessageWriter::open(Block block) {
  close();
  is_open_ = true;
  if (stream_) {
    begin_stream();
    send("content_block_start",
         fmt::format(R"(,"index":{},"content_block":{})", blocks_.size(), block_json(block)));
  }
  blocks_.push_back(std::move(block));
}

void MessageWriter::close() {
  if (!std::exchange(is_open_, false) || !stream_) return;
  send("content_block_stop", fmt::format(R"(,"index":{})", blocks_.size() - 1));
}

void MessageWriter::extend(Block::Kind kind, std::string_view text) {
  if (text.empty()) return;
  if (!is_open_ || blocks_.back().kind != kind) open({kind, {}, {}, {}});
  if (!stream_) {
    blocks_.back().text += text;
    return;
  }
  const std::string_view type = kind == Block::Kind::kText       ? "text_delta"
                                : kind == Block::Kind::kThinking ? "thinking_delta"
                                                                 : "input_json_delta";
  const std::string_view field = kind == Block::Kind::kText       ? "text"
                                 : kind == Block::Kind::kThinking ? "thinking"
                                                                  : "partial_json";
  send("content_block_delta", fmt::format(R"(,"index":{},"delta":{{"type":"{}","{}":{}}})",
                                          blocks_.size() - 1, type, field, json_string(text)));
}

void MessageWriter::take(const ChatDelta& delta) {
  extend(Block::Kind::kThinking, delta.reasoning);
  extend(Block::Kind::kText, delta.content);
  for (const ToolCallDelta& call : delta.calls) {
    if (!call.id.empty()) open({Block::Kind::kToolUse, {}, call.id, call.name});
    extend(Block::Kind::kToolUse, call.arguments);
  }
}

void MessageWriter::write_text(const TextEvent& event) {
  take(parser_.push(event.text));
}

void MessageWriter::write_finish(const FinishEvent& event) {
  take(parser_.finish());
  if (blocks_.empty()) open({});
  close();
  const std::string stop = stop_json(event, parser_.num_calls() > 0);
  const std::string usage = usage_of(event, prompt_tokens_);
  if (!stream_) {
    std::string content;
    for (const Block& block : blocks_) content += (content.empty() ? "" : ",") + block_json(block);
    HttpResponse response;
    response.body = message_json(content, stop, usage);
    return exchange_->respond(std::move(response));
  }
  send("message_delta", fmt::format(R"(,"delta":{{{}}},"usage":{})", stop, usage));
  send("message_stop", "");
  exchange_->end_stream();
}

void MessageWriter::write_error(const ApiError& error) {
  if (!is_streaming_) return refuse(*exchange_, error);
  exchange_->send("event: error\ndata: " + error_json(error, Dialect::kAnthropic) + "\n\n");
  exchange_->end_stream();
}

void MessageWriter::write_keep_alive() {
  if (!stream_) return;
  begin_stream();
  send("ping", "");
}

}  // namespace tandem
