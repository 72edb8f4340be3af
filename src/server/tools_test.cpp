// Calls of tools, forced ones above all, in the dialects that have them.

#include <gtest/gtest.h>

#include "server/model_server_fixture_for_test.h"

namespace tandem {
namespace {

using nlohmann::json;

class ToolsTest : public ModelServerFixture {
 protected:
  // Prompts that explain tools are long, and this vocabulary's tokens are single bytes.
  void SetUp() override { start({}, {.block_tokens = 64}); }

  static json tools() {
    const json city = {{"enum", {"Oslo", "Rome"}}};
    const json schema = {{"type", "object"},
                         {"properties", {{"city", city}}},
                         {"required", {"city"}},
                         {"additionalProperties", false}};
    // Closed, so that even letters drawn from a hat come to an end.
    const json nothing = {{"type", "object"}, {"additionalProperties", false}};
    return {{{"type", "function"}, {"function", {{"name", "weather"}, {"parameters", schema}}}},
            {{"type", "function"}, {"function", {{"name", "now"}, {"parameters", nothing}}}}};
  }

  static json request(json choice) {
    json body = chat(400);
    body["ignore_eos"] = false;
    body["tools"] = tools();
    body["parallel_tool_calls"] = false;
    body["tool_choice"] = std::move(choice);
    return body;
  }

  static json named(const char* name) {
    return {{"type", "function"}, {"function", {{"name", name}}}};
  }

  static void expect_weather(const json& call) {
    EXPECT_EQ(call["type"], "function");
    EXPECT_EQ(call["function"]["name"], "weather");
    const json arguments = json::parse(call["function"]["arguments"].get<std::string>());
    EXPECT_TRUE(arguments == json({{"city", "Oslo"}}) || arguments == json({{"city", "Rome"}}))
        << arguments;
  }
};

TEST_F(ToolsTest, ANamedChoiceIsCalled) {
  const TestResponse response = post("/v1/chat/completions", request(named("weather")));
  ASSERT_EQ(response.status, 200) << response.body;
  const json choice = json::parse(response.body)["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls") << response.body;
  EXPECT_TRUE(choice["message"]["content"].is_null());
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  expect_weather(choice["message"]["tool_calls"][0]);
}

TEST_F(ToolsTest, ARequiredCallIsOneOfTheTools) {
  json body = request("required");
  body["stream"] = true;
  std::string name, arguments;
  for (const json& event : events_of(post("/v1/chat/completions", body).body)) {
    if (!event.is_object() || event["choices"].empty()) continue;
    const json& delta = event["choices"][0]["delta"];
    EXPECT_EQ(delta.value("content", ""), "") << "nothing is said beside the call";
    if (!delta.contains("tool_calls")) continue;
    name += delta["tool_calls"][0]["function"].value("name", "");
    arguments += delta["tool_calls"][0]["function"].value("arguments", "");
  }
  EXPECT_TRUE(name == "weather" || name == "now") << name;
  EXPECT_TRUE(json::parse(arguments).is_object());
}

TEST_F(ToolsTest, AChoiceThatMeansNothingIsRefused) {
  const auto refused = [&](const json& body) {
    const TestResponse response = post("/v1/chat/completions", body);
    EXPECT_EQ(response.status, 400) << body["tool_choice"];
    EXPECT_EQ(json::parse(response.body)["error"]["param"], "tool_choice");
  };
  refused(request(named("other")));
  refused(request("sometimes"));
  refused(request(3));
  refused(request({{"type", "function"}}));
  json none = request("required");
  none.erase("tools");
  refused(none);
  json both = request("required");
  both["response_format"] = {{"type", "json_object"}};
  refused(both);
}

TEST_F(ToolsTest, NoneAndAutoSayWhatTheModelSays) {
  for (const char* choice : {"none", "auto"}) {
    json body = request(choice);
    body["max_tokens"] = 5;
    const json message =
        json::parse(post("/v1/chat/completions", body).body)["choices"][0]["message"];
    EXPECT_FALSE(message.contains("tool_calls"));
  }
}

json anthropic(json choice) {
  return {{"max_tokens", 400},
          {"messages", {{{"role", "user"}, {"content", "hello"}}}},
          {"tools",
           {{{"name", "weather"},
             {"description", "of a city"},
             {"input_schema",
              {{"type", "object"},
               {"properties", {{"city", {{"enum", {"Oslo"}}}}}},
               {"required", {"city"}}}}}}},
          {"tool_choice", std::move(choice)}};
}

TEST_F(ToolsTest, AnthropicsCallsAreBlocks) {
  const TestResponse response =
      post("/v1/messages", anthropic({{"type", "tool"}, {"name", "weather"}}));
  ASSERT_EQ(response.status, 200) << response.body;
  const json message = json::parse(response.body);
  EXPECT_EQ(message["stop_reason"], "tool_use") << response.body;
  ASSERT_EQ(message["content"].size(), 1u);
  EXPECT_EQ(message["content"][0]["type"], "tool_use");
  EXPECT_EQ(message["content"][0]["name"], "weather");
  EXPECT_EQ(message["content"][0]["input"]["city"], "Oslo");
  EXPECT_NE(message["content"][0]["id"], "");
}

TEST_F(ToolsTest, AnthropicsStreamBringsAnInputInPieces) {
  json body = anthropic({{"type", "any"}, {"disable_parallel_tool_use", true}});
  body["stream"] = true;
  std::string kinds, input;
  json start, last;
  for (const json& event : events_of(post("/v1/messages", body).body)) {
    const auto type = event["type"].get<std::string>();
    if (type == "content_block_start") start = event["content_block"];
    if (type == "content_block_delta") input += event["delta"]["partial_json"].get<std::string>();
    if (type == "message_delta") last = event["delta"];
    if (!kinds.ends_with(type + " ")) kinds += type + " ";
  }
  EXPECT_EQ(kinds,
            "message_start content_block_start content_block_delta content_block_stop "
            "message_delta message_stop ");
  EXPECT_EQ(start["type"], "tool_use");
  EXPECT_EQ(start["name"], "weather");
  EXPECT_TRUE(start["input"].empty());
  EXPECT_EQ(json::parse(input)["city"], "Oslo");
  EXPECT_EQ(last["stop_reason"], "tool_use");
}

TEST_F(ToolsTest, AnthropicsResultsGoBackToTheModel) {
  json body = anthropic({{"type", "none"}});
  body["max_tokens"] = 3;
  body["messages"] = {{{"role", "user"}, {"content", "hello"}},
                      {{"role", "assistant"},
                       {"content",
                        {{{"type", "thinking"}, {"thinking", "hm"}, {"signature", ""}},
                         {{"type", "text"}, {"text", "I look."}},
                         {{"type", "tool_use"},
                          {"id", "c1"},
                          {"name", "weather"},
                          {"input", {{"city", "Oslo"}}}}}}},
                      {{"role", "user"},
                       {"content",
                        {{{"type", "tool_result"}, {"tool_use_id", "c1"}, {"content", "rain"}},
                         {{"type", "text"}, {"text", "and now?"}}}}}};
  EXPECT_EQ(post("/v1/messages", body).status, 200);
  const auto count = [&] {
    return json::parse(post("/v1/messages/count_tokens", body).body)["input_tokens"].get<int>();
  };
  const int with_result = count();
  body["messages"][2]["content"].erase(0);
  EXPECT_GT(with_result, count()) << "the result is part of the prompt";
}

TEST_F(ToolsTest, AnthropicsUnknownBlocksAndToolsAreRefused) {
  const auto refused = [&](json body) {
    const TestResponse response = post("/v1/messages", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(json::parse(response.body)["type"], "error");
  };
  json body = anthropic({{"type", "auto"}});
  for (const json& block : {json{{"type", "image"}}, json(3), json{{"type", "text"}},
                            json{{"type", "tool_use"}, {"id", "x"}}}) {
    body["messages"][0]["content"] = json::array({block});
    refused(body);
  }
  json search = anthropic({{"type", "auto"}});
  search["tools"][0]["type"] = "web_search_20250305";
  refused(search);
  json nameless = anthropic({{"type", "auto"}});
  nameless["tools"][0].erase("name");
  refused(nameless);
  refused(anthropic({{"type", "perhaps"}}));
  refused(anthropic({{"type", "tool"}, {"name", "other"}}));
}

}  // namespace
}  // namespace tandem
