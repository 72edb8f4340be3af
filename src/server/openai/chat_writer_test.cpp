#include "server/openai/chat_writer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace tandem {
namespace {

using nlohmann::json;

// Keeps what was answered.
class RecordedExchange : public HttpExchange {
 public:
  const HttpRequest& request() const override { return request_; }
  void respond(HttpResponse response) override { whole = std::move(response); }
  void begin_stream(HttpResponse) override {}
  void send(std::string piece) override { streamed += piece; }
  void end_stream() override { has_ended = true; }
  void abort() override {}
  std::size_t unsent_bytes() const override { return 0; }
  void when_there_is_room(std::function<void()> task) override { task(); }
  void on_gone(std::function<void()>) override {}
  void post(std::function<void()> task) override { task(); }
  void post_after(std::int64_t, std::function<void()>) override {}

  HttpResponse whole;
  std::string streamed;
  bool has_ended = false;

 private:
  HttpRequest request_;
};

constexpr std::string_view kAnswer =
    "<think>it rains</think>Let me look. "
    "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}</tool_call>";

class ChatWriterTest : public testing::Test {
 protected:
  // The answer in pieces of a few bytes, as tokens would bring it.
  void answer(bool stream) {
    ToolCallParserOptions parser;
    parser.tool_names = {"weather"};
    ChatWriter writer(model_, exchange_, {.stream = stream, .include_usage = false}, false, parser);
    for (std::size_t at = 0; at < kAnswer.size(); at += 3) {
      writer.write_text({0, std::string(kAnswer.substr(at, 3)), {}});
    }
    writer.write_finish({.choice = 0, .reason = FinishReason::kEndOfText});
  }

  ServedModel model_;
  std::shared_ptr<RecordedExchange> exchange_ = std::make_shared<RecordedExchange>();
};

TEST_F(ChatWriterTest, AWholeAnswerHasItsCallsApart) {
  answer(false);
  const json choice = json::parse(exchange_->whole.body)["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  const json& message = choice["message"];
  EXPECT_EQ(message["reasoning_content"], "it rains");
  EXPECT_NE(message["content"].get<std::string>().find("Let me look."), std::string::npos);
  ASSERT_EQ(message["tool_calls"].size(), 1u);
  const json& call = message["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_FALSE(call["id"].get<std::string>().empty());
  EXPECT_EQ(call["function"]["name"], "weather");
  EXPECT_EQ(json::parse(call["function"]["arguments"].get<std::string>())["city"], "Rome");
}

TEST_F(ChatWriterTest, AStreamBringsIdAndNameFirstAndThenArguments) {
  answer(true);
  EXPECT_TRUE(exchange_->has_ended);
  std::string name, arguments, content, reasoning, finish_reason;
  std::size_t at = 0;
  while ((at = exchange_->streamed.find("data: {", at)) != std::string::npos) {
    const std::size_t end = exchange_->streamed.find("\n\n", at);
    const json event = json::parse(exchange_->streamed.substr(at + 6, end - at - 6));
    at = end;
    const json& choice = event["choices"][0];
    const json& delta = choice["delta"];
    content += delta.value("content", "");
    reasoning += delta.value("reasoning_content", "");
    if (choice["finish_reason"].is_string()) finish_reason = choice["finish_reason"];
    if (!delta.contains("tool_calls")) continue;
    const json& call = delta["tool_calls"][0];
    EXPECT_EQ(call["index"], 0);
    EXPECT_EQ(call.contains("id"), name.empty()) << "with the first piece alone";
    name += call["function"].value("name", "");
    arguments += call["function"].value("arguments", "");
  }
  EXPECT_EQ(name, "weather");
  EXPECT_EQ(json::parse(arguments)["city"], "Rome");
  EXPECT_EQ(reasoning, "it rains");
  EXPECT_EQ(content.find('<'), std::string::npos);
  EXPECT_EQ(finish_reason, "tool_calls");
}

}  // namespace
}  // namespace tandem
