#include "server/model_server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "server/model_server_fixture_for_test.h"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

class ModelServerTest : public ModelServerFixture {};

TEST_F(ModelServerTest, AnswersAChatWhole) {
  start();
  const TestResponse response = post("/v1/chat/completions", chat());
  ASSERT_EQ(response.status, 200) << response.body;
  const json body = json::parse(response.body);
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 8);
  EXPECT_GT(body["usage"]["prompt_tokens"], 8);
  EXPECT_EQ(body["model"], "scripted");
}

TEST_F(ModelServerTest, StreamsAChatInOpenAisOrder) {
  start();
  json request = chat(12);
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  const TestResponse response = post("/v1/chat/completions", request);
  EXPECT_NE(response.head.find("text/event-stream"), std::string::npos);
  EXPECT_NE(response.head.find("X-Accel-Buffering: no"), std::string::npos);
  const auto events = events_of(response.body);
  ASSERT_GE(events.size(), 5u);
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(events.back(), json("[DONE]"));
  const json& usage = events[events.size() - 2];
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 12);
  const json& finish = events[events.size() - 3];
  EXPECT_EQ(finish["choices"][0]["finish_reason"], "length");
  std::string text;
  for (std::size_t i = 1; i + 3 < events.size(); ++i) {
    const json& delta = events[i]["choices"][0]["delta"];
    EXPECT_TRUE(events[i]["choices"][0]["finish_reason"].is_null());
    EXPECT_TRUE(events[i]["usage"].is_null());
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
    EXPECT_NE(delta["content"], "") << "no empty deltas";
    text += delta["content"].get<std::string>();
  }
  const json whole = json::parse(post("/v1/chat/completions", chat(12)).body);
  EXPECT_EQ(whole["choices"][0]["message"]["content"], text) << "the same streamed and whole";
}

TEST_F(ModelServerTest, GivesSeveralChoicesAndLogprobs) {
  start();
  json request = chat(4);
  request["n"] = 3;
  request["logprobs"] = true;
  request["top_logprobs"] = 2;
  const json body = json::parse(post("/v1/chat/completions", request).body);
  ASSERT_EQ(body["choices"].size(), 3u);
  EXPECT_EQ(body["choices"][2]["index"], 2);
  const json& entries = body["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0]["top_logprobs"].size(), 2u);
  EXPECT_EQ(entries[0]["top_logprobs"][0]["logprob"], entries[0]["logprob"]);
  EXPECT_EQ(body["usage"]["completion_tokens"], 12);
}

TEST_F(ModelServerTest, CompletesTextsAndTokens) {
  start();
  const json one = json::parse(
      post("/v1/completions", {{"prompt", "hello"}, {"max_tokens", 5}, {"ignore_eos", true}}).body);
  EXPECT_EQ(one["object"], "text_completion");
  EXPECT_EQ(one["choices"][0]["finish_reason"], "length");
  const json several = json::parse(
      post("/v1/completions",
           {{"prompt", {"hello", "world"}}, {"max_tokens", 5}, {"n", 2}, {"ignore_eos", true}})
          .body);
  ASSERT_EQ(several["choices"].size(), 4u);
  EXPECT_EQ(several["choices"][0]["text"], one["choices"][0]["text"]);
  EXPECT_EQ(several["choices"][3]["index"], 3);
  const json ids = json::parse(post("/v1/completions", {{"prompt", tokenizer_->encode("hello")},
                                                        {"max_tokens", 5},
                                                        {"echo", true},
                                                        {"ignore_eos", true}})
                                   .body);
  EXPECT_EQ(ids["choices"][0]["text"], "hello" + one["choices"][0]["text"].get<std::string>());
}

TEST_F(ModelServerTest, SpeaksLlamaServersTongue) {
  start();
  const json request = {
      {"prompt", "hello"}, {"n_predict", 5}, {"ignore_eos", true}, {"return_tokens", true}};
  const json whole = json::parse(post("/completion", request).body);
  EXPECT_EQ(whole["stop"], true);
  EXPECT_EQ(whole["stop_type"], "limit");
  EXPECT_EQ(whole["tokens_predicted"], 5);
  EXPECT_EQ(whole["tokens"].size(), 5u);
  json streamed = request;
  streamed["stream"] = true;
  std::string text;
  const auto events = events_of(post("/completion", streamed).body);
  for (const json& event : events) text += event["content"].get<std::string>();
  EXPECT_EQ(text, whole["content"]);
  EXPECT_EQ(events.back()["stop"], true);

  const json tokens = json::parse(post("/tokenize", {{"content", "hello world"}}).body)["tokens"];
  EXPECT_EQ(json::parse(post("/detokenize", {{"tokens", tokens}}).body)["content"], "hello world");
  EXPECT_EQ(json::parse(get("/props").body)["model_alias"], "scripted");
  EXPECT_EQ(json::parse(get("/slots").body).size(), 8u);
  EXPECT_NE(json::parse(post("/apply-template", chat()).body)["prompt"].get<std::string>().find(
                "<|im_start|>user\nhello world<|im_end|>"),
            std::string::npos);
}

TEST_F(ModelServerTest, SpeaksAnthropicsTongue) {
  start();
  const json request = {{"model", "any"},
                        {"max_tokens", 6},
                        {"ignore_eos", true},
                        {"system", "be brief"},
                        {"messages", {{{"role", "user"}, {"content", "hello"}}}}};
  const json whole = json::parse(post("/v1/messages", request).body);
  EXPECT_EQ(whole["type"], "message");
  EXPECT_EQ(whole["stop_reason"], "max_tokens");
  EXPECT_EQ(whole["usage"]["output_tokens"], 6);
  json streamed = request;
  streamed["stream"] = true;
  const auto events = events_of(post("/v1/messages", streamed).body);
  EXPECT_EQ(events.front()["type"], "message_start");
  EXPECT_EQ(events.back()["type"], "message_stop");
  std::string text;
  for (const json& event : events) {
    if (event["type"] == "content_block_delta") text += event["delta"]["text"].get<std::string>();
  }
  EXPECT_EQ(text, whole["content"][0]["text"]);
  const json count = json::parse(post("/v1/messages/count_tokens", request).body);
  EXPECT_EQ(count["input_tokens"], whole["usage"]["input_tokens"]);
  EXPECT_EQ(json::parse(post("/v1/messages", {{"messages", 1}}).body)["type"], "error");
}

TEST_F(ModelServerTest, ErrorsHaveTheDialectsForm) {
  start();
  const TestResponse openai = post("/v1/chat/completions", {{"messages", json::array()}});
  EXPECT_EQ(openai.status, 400);
  const json error = json::parse(openai.body)["error"];
  EXPECT_EQ(error["param"], "messages");
  EXPECT_TRUE(error["code"].is_null());
  EXPECT_EQ(error["type"], "invalid_request_error");
  const json native = json::parse(post("/completion", json::object()).body)["error"];
  EXPECT_EQ(native["code"], 400);
  EXPECT_EQ(get("/nowhere").status, 404);
  EXPECT_EQ(get("/v1/chat/completions").status, 405);
  EXPECT_EQ(post("/v1/embeddings", json::object()).status, 400);
  EXPECT_EQ(post("/v1/moderations", json::object()).status, 501);
}

TEST_F(ModelServerTest, RefusesHostileBodies) {
  start();
  const auto refused = [&](std::string_view path, const std::string& body) {
    const TestResponse response = fetch(server_->port(), "POST", path, body);
    EXPECT_EQ(response.status, 400) << body.substr(0, 80);
  };
  const auto with = [](json base, const char* name, json value) {
    base[name] = std::move(value);
    return base.dump();
  };
  refused("/v1/chat/completions", "{");
  refused("/v1/chat/completions", "[]");
  refused("/v1/chat/completions", "nul");
  refused("/v1/chat/completions", std::string(50'000, '['));
  refused("/v1/chat/completions", std::string(50'000, '[') + std::string(50'000, ']'));
  refused("/v1/chat/completions", "{\"messages\":\"\xff\xfe\"}");
  refused("/v1/chat/completions", R"({"messages":[{"role":"user","content":"\ud800"}]})");
  refused("/v1/chat/completions", R"({"messages":[1,2,3]})");
  refused("/v1/chat/completions", R"({"messages":[[]]})");
  refused("/v1/chat/completions", R"({"messages":[{}]})");
  for (const char* name : {"temperature", "top_p", "n", "max_tokens", "seed", "top_logprobs"}) {
    refused("/v1/chat/completions", with(chat(), name, "x"));
    refused("/v1/chat/completions", with(chat(), name, json::array()));
  }
  refused("/v1/chat/completions", with(chat(), "n", 0));
  refused("/v1/chat/completions", with(chat(), "n", 1'000'000));
  refused("/v1/chat/completions", with(chat(), "n", 1e300));
  refused("/v1/chat/completions", with(chat(), "max_tokens", 1.5));
  refused("/v1/chat/completions", with(chat(), "max_tokens", -7));
  refused("/v1/chat/completions", with(chat(), "top_p", 1.5));
  refused("/v1/chat/completions", with(chat(), "top_k", -5));
  refused("/v1/chat/completions", with(chat(), "stop", json::array({1, 2})));
  refused("/v1/chat/completions", with(chat(), "stop", std::string(100'000, 'x')));
  refused("/v1/chat/completions", with(chat(), "logit_bias", {{"99999999", 1}}));
  refused("/v1/chat/completions", with(chat(), "logit_bias", "x"));
  refused("/v1/chat/completions", with(chat(), "tools", 3));
  refused("/v1/chat/completions", with(chat(), "stream_options", 3));
  refused("/v1/chat/completions", with(chat(), "response_format", {{"type", "nonsense"}}));
  refused("/v1/chat/completions", with(chat(), "response_format", 3));
  refused("/v1/completions", R"({"prompt":[]})");
  refused("/v1/completions", R"({"prompt":[-1]})");
  refused("/v1/completions", R"({"prompt":[99999999]})");
  refused("/v1/completions", R"({"prompt":[1e99]})");
  refused("/v1/completions", R"({"prompt":{"a":1}})");
  refused("/v1/completions", json{{"prompt", std::string(5000, 'x')}}.dump());
  refused("/v1/completions", json{{"prompt", std::string(3'000'000, 'x')}}.dump());
  refused("/detokenize", R"({"tokens":[1,"2"]})");
  refused("/detokenize", R"({"tokens":[4000000000]})");
  refused("/tokenize", R"({"content":7})");
  EXPECT_EQ(post("/v1/chat/completions", chat()).status, 200) << "and goes on serving";
  EXPECT_TRUE(becomes_idle());
}

TEST_F(ModelServerTest, HoldsAnswersToASchemaOrGrammar) {
  start();
  json request = chat(60);
  request["ignore_eos"] = false;
  const json schema = {{"enum", {"yes", "no"}}};
  request["response_format"] = {{"type", "json_schema"},
                                {"json_schema", {{"name", "x"}, {"schema", schema}}}};
  const json body = json::parse(post("/v1/chat/completions", request).body);
  const json answer = json::parse(body["choices"][0]["message"]["content"].get<std::string>());
  EXPECT_TRUE(answer == "yes" || answer == "no") << answer;
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  const json native = json::parse(
      post("/completion", {{"prompt", "hello"}, {"grammar", "root ::= \"yes\" | \"no\""}}).body);
  EXPECT_TRUE(native["content"] == "yes" || native["content"] == "no") << native;
}

TEST_F(ModelServerTest, RefusesHostileGrammars) {
  start();
  const auto refused = [&](const char* name, const json& value) {
    json request = chat();
    request[name] = value;
    const TestResponse response = post("/v1/chat/completions", request);
    EXPECT_EQ(response.status, 400) << value.dump().substr(0, 80);
    EXPECT_EQ(json::parse(response.body)["error"]["param"], name);
  };
  refused("grammar", "root ::= root \"a\"");
  refused("grammar", "root ::= " + std::string(50'000, '(') + "\"a\"" + std::string(50'000, ')'));
  refused("grammar", "root ::= \"a\"{1000000000}");
  refused("grammar", "nonsense");
  json deep = {{"type", "string"}};
  for (int i = 0; i < 110; ++i) deep = {{"type", "array"}, {"items", std::move(deep)}};
  refused("json_schema", deep);
  refused("json_schema", {{"type", "string"}, {"minLength", 1'000'000'000}});
  EXPECT_TRUE(becomes_idle());
}

TEST_F(ModelServerTest, SaysWhatIsWrongWithAPromptThatIsTooLong) {
  start();
  const TestResponse response =
      post("/v1/completions", {{"prompt", std::string(2000, 'z')}, {"max_tokens", 5}});
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(json::parse(response.body)["error"]["code"], "context_length_exceeded");
}

TEST_F(ModelServerTest, NeedsAKeyWhereThereAreKeys) {
  ModelServerOptions options;
  options.access.keys = {"secret", "other-key"};
  start(std::move(options));
  EXPECT_EQ(post("/v1/chat/completions", chat(1)).status, 401);
  EXPECT_EQ(post("/v1/chat/completions", chat(1), "Authorization: Bearer wrong!\r\n").status, 401);
  EXPECT_EQ(post("/v1/chat/completions", chat(1), "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(post("/v1/chat/completions", chat(1), "X-Api-Key: other-key\r\n").status, 200);
  EXPECT_EQ(get("/metrics").status, 401);
  EXPECT_EQ(get("/nowhere").status, 401);
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(get("/").status, 200);
}

TEST_F(ModelServerTest, ReadsItsKeysAgain) {
  const std::string path = testing::TempDir() + "tandem_keys_test.txt";
  std::ofstream(path) << "# mine\nfirst\n";
  ModelServerOptions options;
  options.access.key_file = path;
  start(std::move(options));
  EXPECT_EQ(get("/props", "X-Api-Key: first\r\n").status, 200);
  std::ofstream(path) << "second\r\n";
  ASSERT_TRUE(server_->reload_keys().ok());
  EXPECT_EQ(get("/props", "X-Api-Key: first\r\n").status, 401);
  EXPECT_EQ(get("/props", "X-Api-Key: second\r\n").status, 200);
  std::ofstream(path) << "\n";
  EXPECT_FALSE(server_->reload_keys().ok()) << "an empty file opens nothing";
  EXPECT_EQ(get("/props", "X-Api-Key: second\r\n").status, 200);
}

TEST_F(ModelServerTest, RefusesForeignHostsAndOrigins) {
  start();
  TestClient client(server_->port());
  client.send("GET /props HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(parse_response(client.read_all()).status, 403);
  EXPECT_EQ(get("/props", "Origin: https://evil.example\r\n").status, 403);
  const TestResponse local = get("/props", "Origin: http://localhost:3000\r\n");
  EXPECT_EQ(local.status, 200);
  EXPECT_NE(local.head.find("Access-Control-Allow-Origin: http://localhost:3000"),
            std::string::npos);
  EXPECT_EQ(fetch(server_->port(), "OPTIONS", "/v1/chat/completions", {},
                  "Origin: http://localhost:3000\r\n")
                .status,
            204);
}

TEST_F(ModelServerTest, HealthTellsEachState) {
  listen();
  EXPECT_EQ(get("/health").status, 503);
  EXPECT_EQ(json::parse(get("/health").body)["status"], "loading");
  const TestResponse early = post("/v1/chat/completions", chat());
  EXPECT_EQ(early.status, 503);
  EXPECT_NE(early.head.find("Retry-After"), std::string::npos);
  load();
  EXPECT_EQ(json::parse(get("/health").body)["status"], "ok");
  server_->drain(0);
  EXPECT_EQ(json::parse(get("/health").body)["status"], "draining");
  EXPECT_EQ(post("/v1/chat/completions", chat()).status, 503);
}

TEST_F(ModelServerTest, MetricsAreThereWhateverTheState) {
  listen();
  EXPECT_EQ(get("/metrics").status, 200);
  server_->drain(0);
  EXPECT_EQ(get("/metrics").status, 200) << "ended while it loaded";
  listen();
  server_->fail("no such model");
  EXPECT_EQ(get("/metrics").status, 200);
  EXPECT_EQ(json::parse(get("/health").body)["reason"], "no such model");
}

TEST_F(ModelServerTest, HealthTellsWhyTheModelFailed) {
  ScriptedRunnerOptions runner;
  runner.fail = [](std::int64_t) -> std::optional<Error> {
    return Error{ErrorCode::kDeviceFailed, "the device burnt", {}, {}, {}};
  };
  start({}, runner);
  EXPECT_EQ(post("/v1/chat/completions", chat()).status, 500);
  for (int i = 0; i < 400 && get("/health").status == 200; ++i) std::this_thread::sleep_for(5ms);
  const json health = json::parse(get("/health").body);
  EXPECT_EQ(health["status"], "failed");
  EXPECT_NE(health["reason"].get<std::string>().find("burnt"), std::string::npos);
}

TEST_F(ModelServerTest, AFullQueueAnswersAtOnce) {
  EngineOptions engine;
  engine.max_queued = 0;
  start({}, {.max_sequences = 1, .step_us = 20'000}, engine);
  TestClient first(server_->port());
  const std::string body = chat(100).dump();
  first.send(
      fmt::format("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                  "{}\r\n\r\n{}",
                  body.size(), body));
  while (engine_->num_open() == 0) std::this_thread::sleep_for(1ms);
  const TestResponse refused = post("/v1/chat/completions", chat());
  EXPECT_EQ(refused.status, 429);
  EXPECT_NE(refused.head.find("Retry-After"), std::string::npos);
}

TEST_F(ModelServerTest, AClientThatGoesFreesWhatItHeld) {
  start({}, {.max_sequences = 2, .step_us = 2000});
  for (const bool stream : {false, true}) {
    std::vector<std::unique_ptr<TestClient>> clients;  // two run, two wait
    for (int i = 0; i < 4; ++i) {
      json request = chat(500);
      request["stream"] = stream;
      const std::string body = request.dump();
      clients.push_back(std::make_unique<TestClient>(server_->port()));
      clients.back()->send(fmt::format(
          "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
          body.size(), body));
    }
    while (engine_->num_open() < 4) std::this_thread::sleep_for(1ms);
    const auto before = std::chrono::steady_clock::now();
    clients.clear();
    EXPECT_TRUE(becomes_idle());
    EXPECT_LT(std::chrono::steady_clock::now() - before, 500ms) << "500 tokens would take a second";
  }
}

TEST_F(ModelServerTest, AThousandAbortsLeaveNothingBehind) {
  start({}, {.step_us = 200});
  json request = chat(200);
  request["stream"] = true;
  const std::string body = request.dump();
  for (int i = 0; i < 1000; ++i) {
    TestClient client(server_->port());
    client.send(fmt::format(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
        body.size(), i % 3 == 0 ? body.substr(0, 20) : body));
    if (i % 3 != 0 && i % 5 == 0) client.read_until("data: ", 1000);
  }
  EXPECT_TRUE(becomes_idle());
  EXPECT_EQ(post("/v1/chat/completions", chat()).status, 200);
}

TEST_F(ModelServerTest, DrainLetsAnswersFinishAndThenEndsThemProperly) {
  start({}, {.step_us = 5000});
  json request = chat(400);
  request["stream"] = true;
  const std::string body = request.dump();
  TestClient client(server_->port());
  client.send(
      fmt::format("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                  "Content-Length: {}\r\n\r\n{}",
                  body.size(), body));
  std::string text = client.read_until("\"content\":\"");
  std::thread drain([&] { server_->drain(100); });
  text += client.read_all();
  drain.join();
  const auto events = events_of(parse_response(text).body);
  ASSERT_FALSE(events.empty());
  EXPECT_TRUE(events.back().contains("error")) << "the last event says why";
  EXPECT_TRUE(becomes_idle());
}

TEST_F(ModelServerTest, ASilentStreamGetsCommentsWhereTheyAreWanted) {
  model_.keep_alive_ms = 20;
  start({}, {.max_sequences = 1, .step_us = 100'000});
  const auto streamed = [&](std::string_view path, json request) {
    request["stream"] = true;
    const TestResponse response = post(path, request);
    EXPECT_EQ(response.status, 200);
    return response.body;
  };
  const std::string chats = streamed("/v1/chat/completions", chat(3));
  EXPECT_NE(chats.find("\n\n: keep-alive\n\n"), std::string::npos) << chats;
  EXPECT_EQ(events_of(chats)[0]["choices"][0]["delta"]["role"], "assistant") << "the role is first";
  EXPECT_EQ(events_of(chats).back(), json("[DONE]"));
  const std::string native = streamed("/completion", {{"prompt", "hello"}, {"n_predict", 3}});
  EXPECT_TRUE(native.starts_with(": keep-alive\n\n")) << native;
  const std::string message =
      streamed("/v1/messages",
               {{"max_tokens", 3}, {"messages", {{{"role", "user"}, {"content", "hello"}}}}});
  EXPECT_NE(message.find("event: ping\ndata: {\"type\":\"ping\"}\n\n"), std::string::npos);
  const TestResponse whole = post("/v1/chat/completions", chat(3));
  EXPECT_TRUE(json::accept(whole.body)) << "an answer that comes whole has no comments";
}

TEST_F(ModelServerTest, MetricsCount) {
  start();
  post("/v1/chat/completions", chat(8));
  const std::string text = get("/metrics").body;
  EXPECT_NE(text.find("llamacpp:tokens_predicted_total 8\n"), std::string::npos) << text;
  EXPECT_NE(text.find("tandem:time_to_first_token_seconds_count 1\n"), std::string::npos);
  EXPECT_NE(text.find("tandem:requests_total{end=\"finished\"} 1\n"), std::string::npos);
}

TEST_F(ModelServerTest, TheAccessLogHoldsNothingSecret) {
  std::mutex mutex;
  std::string log;
  ModelServerOptions options;
  options.access.keys = {"secret"};
  options.access_log = [&](const std::string& line) {
    const std::lock_guard lock(mutex);
    log += line + "\n";
  };
  start(std::move(options));
  get("/props?key=secret", "X-Api-Key: secret\r\n");
  server_.reset();
  const json line = json::parse(log);
  EXPECT_EQ(line["path"], "/props");
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(log.find("secret"), std::string::npos);
}

TEST_F(ModelServerTest, ListsItsModel) {
  start();
  EXPECT_EQ(json::parse(get("/v1/models").body)["data"][0]["id"], "scripted");
  EXPECT_EQ(get("/v1/models/scripted").status, 200);
  EXPECT_EQ(get("/v1/models/other").status, 404);
}

}  // namespace
}  // namespace tandem
