#include <gtest/gtest.h>

#include "server/model_server_fixture_for_test.h"

namespace tandem {
namespace {

using nlohmann::json;

class ResponsesTest : public ModelServerFixture {};

json request() {
  return {{"input", "hello world"}, {"max_output_tokens", 8}, {"ignore_eos", true}};
}

TEST_F(ResponsesTest, AnswersWhole) {
  start();
  const TestResponse response = post("/v1/responses", request());
  ASSERT_EQ(response.status, 200) << response.body;
  const json body = json::parse(response.body);
  EXPECT_EQ(body["object"], "response");
  EXPECT_EQ(body["status"], "incomplete");
  EXPECT_EQ(body["incomplete_details"]["reason"], "max_output_tokens");
  ASSERT_EQ(body["output"].size(), 1u);
  EXPECT_EQ(body["output"][0]["type"], "message");
  EXPECT_EQ(body["output"][0]["content"][0]["type"], "output_text");
  EXPECT_EQ(body["usage"]["output_tokens"], 8);
  // The same conversation through the chat API.
  const json whole = json::parse(post("/v1/chat/completions", chat(8)).body);
  EXPECT_EQ(body["output"][0]["content"][0]["text"], whole["choices"][0]["message"]["content"]);
}

TEST_F(ResponsesTest, StreamsItsEventsInOrder) {
  start();
  json body = request();
  body["stream"] = true;
  const auto events = events_of(post("/v1/responses", body).body);
  std::string kinds, text;
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i]["sequence_number"], i);
    const auto type = events[i]["type"].get<std::string>();
    if (!kinds.ends_with(" " + type)) kinds += " " + type;
    if (type == "response.output_text.delta") text += events[i]["delta"].get<std::string>();
  }
  EXPECT_EQ(kinds,
            " response.created response.in_progress response.output_item.added"
            " response.content_part.added response.output_text.delta response.output_text.done"
            " response.content_part.done response.output_item.done response.incomplete");
  const json& response = events.back()["response"];
  EXPECT_EQ(response["output"][0]["content"][0]["text"], text);
  EXPECT_EQ(response["id"], events.front()["response"]["id"]);
}

TEST_F(ResponsesTest, TakesMessagesInstructionsAndASchema) {
  start();
  const json body = {
      {"instructions", "be brief"},
      {"input",
       {{{"role", "user"}, {"content", {{{"type", "input_text"}, {"text", "hello"}}}}},
        {{"type", "message"},
         {"role", "assistant"},
         {"content", {{{"type", "output_text"}, {"text", "yes?"}}}}},
        {{"role", "user"}, {"content", "choose"}}}},
      {"text",
       {{"format",
         {{"type", "json_schema"}, {"name", "x"}, {"schema", {{"enum", {"yes", "no"}}}}}}}}};
  const json answer = json::parse(post("/v1/responses", body).body);
  EXPECT_EQ(answer["status"], "completed") << answer;
  const auto text = answer["output"][0]["content"][0]["text"].get<std::string>();
  EXPECT_TRUE(text == "\"yes\"" || text == "\"no\"") << text;
}

TEST_F(ResponsesTest, RefusesWhatItCannotDo) {
  start();
  const auto refused = [&](const char* name, json value) {
    json body = request();
    body[name] = std::move(value);
    const TestResponse response = post("/v1/responses", body);
    EXPECT_EQ(response.status, 400) << name;
    EXPECT_TRUE(json::parse(response.body).contains("error"));
  };
  refused("input", 3);
  refused("input", json::array());
  refused("input", {{{"type", "input_image"}}});
  refused("input", {{{"role", "user"}, {"content", {{{"type", "input_image"}}}}}});
  refused("tools", {{{"type", "web_search"}}});
  refused("previous_response_id", "resp_1");
  refused("background", true);
  refused("text", {{"format", {{"type", "nonsense"}}}});
  refused("n", 2);
}

}  // namespace
}  // namespace tandem
