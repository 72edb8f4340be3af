#include "server/openai/response_writer.h"

#include <fmt/format.h>

#include <utility>

#include "server/answer_json.h"
#include "server/json_text.h"

namespace tandem {
namespace {

std::string part_json(bool is_thought, std::string_view text) {
  if (is_thought) return fmt::format(R"({{"type":"reasoning_text","text":{}}})", json_string(text));
  return fmt::format(R"({{"type":"output_text","text":{},"annotations":[],"logprobs":[]}})",
                     json_string(text));
}

std::string usage_of(const GenerationUsage& usage) {
  return fmt::format(
      R"({{"input_tokens":{},"input_tokens_details":{{"cached_tokens":{}}},"output_tokens":{},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{}}})",
      usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens,
      usage.prompt_tokens + usage.completion_tokens);
}

}  // namespace

ResponseWriter::ResponseWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                               bool stream, const SamplingParams& sampling,
                               ToolCallParserOptions parser)
    : model_(model),
      exchange_(std::move(exchange)),
      stream_(stream),
      temperature_(sampling.temperature),
      top_p_(sampling.top_p),
      id_(random_id("resp_")),
      created_(unix_seconds()),
      parser_(std::move(parser)) {}

std::string ResponseWriter::item_json(const Item& item, std::string_view status) const {
  const bool is_new = status == "in_progress";
  const std::string content = is_new ? "" : part_json(item.is_thought, item.text);
  if (item.is_thought) {
    return fmt::format(R"({{"type":"reasoning","id":"{}","summary":[],"content":[{}]}})", item.id,
                       content);
  }
  return fmt::format(
      R"({{"type":"message","id":"{}","status":"{}","role":"assistant","content":[{}]}})", item.id,
      status, content);
}

// more: error, incomplete_details and usage.
std::string ResponseWriter::response_json(std::string_view status, std::string_view more) const {
  std::string output;
  const bool is_done = status == "completed" || status == "incomplete";
  for (std::size_t i = 0; is_done && i < items_.size(); ++i) {
    const bool is_cut = status == "incomplete" && i + 1 == items_.size();
    output += (output.empty() ? "" : ",") + item_json(items_[i], is_cut ? status : "completed");
  }
  return fmt::format(
      R"({{"id":"{}","object":"response","created_at":{},"status":"{}","model":{},"output":[{}],"parallel_tool_calls":true,"previous_response_id":null,"store":false,"temperature":{},"top_p":{},"tool_choice":"auto","tools":[],"truncation":"disabled","instructions":null,"metadata":{{}},{}}})",
      id_, created_, status, json_string(model_.name), output, temperature_, top_p_, more);
}

void ResponseWriter::send(std::string_view name, std::string_view fields) {
  exchange_->send(fmt::format("event: {}\ndata: {{\"type\":\"{}\",\"sequence_number\":{}{}}}\n\n",
                              name, name, next_number_++, fields));
}

void ResponseWriter::begin_stream() {
  if (std::exchange(is_streaming_, true)) return;
  exchange_->begin_stream(event_stream());
  const std::string response =
      response_json("in_progress", R"("error":null,"incomplete_details":null,"usage":null)");
  send("response.created", R"(,"response":)" + response);
  send("response.in_progress", R"(,"response":)" + response);
}

std::string ResponseWriter::place() const {
  return fmt::format(R"(,"item_id":"{}","output_index":{},"content_index":0)", items_.back().id,
                     items_.size() - 1);
}

void ResponseWriter::open(bool is_thought) {
  close();
  items_.push_back({is_thought, random_id(is_thought ? "rs_" : "msg_"), {}});
  is_open_ = true;
  if (!stream_) return;
  begin_stream();
  send("response.output_item.added",
       fmt::format(R"(,"output_index":{},"item":{})", items_.size() - 1,
                   item_json(items_.back(), "in_progress")));
  send("response.content_part.added", place() + R"(,"part":)" + part_json(is_thought, ""));
}

void ResponseWriter::close() {
  if (!std::exchange(is_open_, false) || !stream_) return;
  const Item& item = items_.back();
  const std::string name =
      item.is_thought ? "response.reasoning_text.done" : "response.output_text.done";
  send(name, place() + R"(,"text":)" + json_string(item.text) +
                 (item.is_thought ? "" : R"(,"logprobs":[])"));
  send("response.content_part.done",
       place() + R"(,"part":)" + part_json(item.is_thought, item.text));
  send("response.output_item.done", fmt::format(R"(,"output_index":{},"item":{})",
                                                items_.size() - 1, item_json(item, "completed")));
}

void ResponseWriter::extend(bool is_thought, std::string_view text) {
  if (text.empty()) return;
  if (!is_open_ || items_.back().is_thought != is_thought) open(is_thought);
  items_.back().text += text;
  if (!stream_) return;
  const std::string name =
      is_thought ? "response.reasoning_text.delta" : "response.output_text.delta";
  send(name,
       place() + R"(,"delta":)" + json_string(text) + (is_thought ? "" : R"(,"logprobs":[])"));
}

void ResponseWriter::take(const ChatDelta& delta) {
  extend(true, delta.reasoning);
  extend(false, delta.content);
}

void ResponseWriter::write_text(const TextEvent& event) {
  take(parser_.push(event.text));
}

void ResponseWriter::write_finish(const FinishEvent& event) {
  take(parser_.finish());
  if (items_.empty()) open(false);
  close();
  const bool is_cut = event.reason == FinishReason::kLength;
  const std::string_view status = is_cut ? "incomplete" : "completed";
  const std::string response =
      response_json(status, fmt::format(R"("error":null,"incomplete_details":{},"usage":{})",
                                        is_cut ? R"({"reason":"max_output_tokens"})" : "null",
                                        usage_of(event.usage)));
  if (!stream_) {
    HttpResponse whole;
    whole.body = response;
    return exchange_->respond(std::move(whole));
  }
  send(fmt::format("response.{}", status), R"(,"response":)" + response);
  exchange_->end_stream();
}

void ResponseWriter::write_error(const ApiError& error) {
  if (!is_streaming_) return refuse(*exchange_, error);
  const std::string body = error_json(error, Dialect::kOpenAi);
  send("error", fmt::format(R"(,"code":null,"message":{},"param":null,{})",
                            json_string(error.message), body.substr(1, body.size() - 2)));
  exchange_->end_stream();
}

void ResponseWriter::write_keep_alive() {
  if (!stream_) return;
  begin_stream();
  exchange_->send(kKeepAlive);
}

}  // namespace tandem
