#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/generation_run.h"
#include "server/request_fields.h"
#include "text/tool_calls/tool_call_parser.h"

namespace tandem {

// Answers of POST /v1/messages: one JSON document, or Anthropic's named events. An answer is a row
// of blocks: thinking, text, calls of tools.
class MessageWriter : public AnswerWriter {
 public:
  // parser: how the model writes calls of tools and thoughts; its id_seed is drawn anew.
  MessageWriter(const ServedModel& model, std::shared_ptr<HttpExchange> exchange, bool stream,
                std::int32_t prompt_tokens, ToolCallParserOptions parser);

  void write_text(const TextEvent& event) override;
  void write_finish(const FinishEvent& event) override;
  void write_error(const ApiError& error) override;
  void write_keep_alive() override;

 private:
  struct Block {
    enum class Kind : std::uint8_t { kThinking, kText, kToolUse };
    Kind kind = Kind::kText;
    std::string text;  // of a call: the JSON of its input
    std::string id;    // of a call
    std::string name;  // likewise
  };

  void take(const ChatDelta& delta);
  void begin_stream();
  void open(Block block);
  void close();
  // More of a block of this kind, which is opened where another one is.
  void extend(Block::Kind kind, std::string_view text);
  void send(std::string_view name, std::string_view fields);
  std::string message_json(std::string_view content, std::string_view stop,
                           std::string_view usage) const;
  static std::string block_json(const Block& block);

  const ServedModel& model_;
  const std::shared_ptr<HttpExchange> exchange_;
  const bool stream_;
  const std::int32_t prompt_tokens_;
  const std::string id_;
  ToolCallParser parser_;
  std::vector<Block> blocks_;  // of a stream: without the texts that were sent
  bool is_open_ = false;       // the last block
  bool is_streaming_ = false;
};

}  // namespace tandem
