#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/generation_run.h"
#include "server/request_fields.h"
#include "text/tool_calls/tool_call_parser.h"

namespace tandem {

// Answers of POST /v1/responses: one JSON document, or its typed events. An answer is a row of
// items: a thought where the model has one, then a message.
class ResponseWriter : public AnswerWriter {
 public:
  ResponseWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange, bool stream,
                 const SamplingParams& sampling, ToolCallParserOptions parser);

  void write_text(const TextEvent& event) override;
  void write_finish(const FinishEvent& event) override;
  void write_error(const ApiError& error) override;
  void write_keep_alive() override;

 private:
  struct Item {
    bool is_thought = false;
    std::string id;
    std::string text;
  };

  void take(const ChatDelta& delta);
  void extend(bool is_thought, std::string_view text);
  void open(bool is_thought);
  void close();
  void begin_stream();
  void send(std::string_view name, std::string_view fields);
  std::string item_json(const Item& item, std::string_view status) const;
  std::string response_json(std::string_view status, std::string_view more) const;
  // Where an event happens: the last item's id and place.
  std::string place() const;

  const ServedModel& model_;
  const std::shared_ptr<HttpExchange> exchange_;
  const bool stream_;
  const float temperature_;
  const float top_p_;
  const std::string id_;
  const std::int64_t created_;
  ToolCallParser parser_;
  std::vector<Item> items_;
  bool is_open_ = false;  // the last item
  bool is_streaming_ = false;
  std::int64_t next_number_ = 0;  // of the events
};

}  // namespace tandem
