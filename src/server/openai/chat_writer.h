#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/answer_json.h"
#include "server/generation_run.h"
#include "server/request_fields.h"
#include "text/tool_calls/tool_call_parser.h"

namespace tandem {

// Answers of POST /v1/chat/completions: one JSON document, or server-sent events.
class ChatWriter : public AnswerWriter {
 public:
  // parser: how the model writes calls of tools and thoughts; its id_seed is drawn anew.
  ChatWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange, StreamFields stream,
             bool with_logprobs, ToolCallParserOptions parser);

  void write_text(const TextEvent& event) override;
  void write_finish(const FinishEvent& event) override;
  void write_error(const ApiError& error) override;
  void write_keep_alive() override;

 private:
  struct Call {
    std::string id;
    std::string name;
    std::string arguments;
  };
  struct Choice {
    explicit Choice(ToolCallParserOptions options) : parser(std::move(options)) {}

    ToolCallParser parser;
    std::string content;
    std::string reasoning;
    std::vector<Call> calls;
    std::string logprobs;  // entries not sent yet, with commas between them
    std::string finish_reason;
    bool has_begun = false;
  };

  Choice& choice_of(std::int32_t index);
  void take(std::int32_t index, const ChatDelta& delta);
  void begin_stream(std::int32_t index);
  void send_chunk(std::string_view choices, std::string_view usage = "null");
  void send_delta(std::int32_t index, std::string_view delta, std::string_view finish_reason);
  void end_stream();
  void respond_whole();
  std::string message_json(const Choice& choice) const;

  const ServedModel& model_;
  const std::shared_ptr<HttpExchange> exchange_;
  const StreamFields stream_;
  const bool with_logprobs_;
  const ToolCallParserOptions parser_;
  const std::string id_;
  const std::int64_t created_;
  std::map<std::int32_t, Choice> choices_;
  AnswerTotals totals_;
  bool is_streaming_ = false;
};

}  // namespace tandem
