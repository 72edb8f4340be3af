#pragma once

#include <map>
#include <memory>
#include <string>

#include "server/answer_json.h"
#include "server/generation_run.h"
#include "server/request_fields.h"

namespace tandem {

// Answers of POST /v1/chat/completions: one JSON document, or server-sent events.
class ChatWriter : public AnswerWriter {
 public:
  ChatWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange, StreamFields stream,
             bool with_logprobs);

  void write_text(const TextEvent& event) override;
  void write_finish(const FinishEvent& event) override;
  void write_error(const ApiError& error) override;

 private:
  struct Choice {
    std::string content;
    std::string logprobs;  // entries, with commas between them
    std::string finish_reason;
    bool has_begun = false;
  };

  void begin(std::int32_t index);
  void send_chunk(std::string_view choices, std::string_view usage = "null");
  void send_delta(std::int32_t index, std::string_view delta, std::string_view logprobs,
                  std::string_view finish_reason);
  void end_stream();
  void respond_whole();

  const ServedModel& model_;
  const std::shared_ptr<HttpExchange> exchange_;
  const StreamFields stream_;
  const bool with_logprobs_;
  const std::string id_;
  const std::int64_t created_;
  std::map<std::int32_t, Choice> choices_;
  AnswerTotals totals_;
  bool is_streaming_ = false;
};

}  // namespace tandem
