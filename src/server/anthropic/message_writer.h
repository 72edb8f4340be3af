#pragma once

#include <memory>
#include <string>

#include "server/generation_run.h"
#include "server/request_fields.h"

namespace tandem {

// Answers of POST /v1/messages: one JSON document, or Anthropic's named events.
class MessageWriter : public AnswerWriter {
 public:
  MessageWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange, bool stream,
                std::int32_t prompt_tokens);

  void write_text(const TextEvent& event) override;
  void write_finish(const FinishEvent& event) override;
  void write_error(const ApiError& error) override;

 private:
  void begin_stream();
  void send(std::string_view name, std::string_view fields);
  std::string message_json(std::string_view content, std::string_view stop,
                           std::string_view usage) const;

  const ServedModel& model_;
  const std::shared_ptr<HttpExchange> exchange_;
  const bool stream_;
  const std::int32_t prompt_tokens_;
  const std::string id_;
  std::string text_;
  bool is_streaming_ = false;
};

}  // namespace tandem
