#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "engine/scripted_runner_for_test.h"
#include "server/http/test_client_for_test.h"
#include "server/model_server.h"
#include "server/structured_output.h"
#include "text/chat_template.h"
#include "text/vocabularies_for_test.h"

namespace tandem {

// A server over real sockets whose model is scripted: its "answers" are letters.
class ModelServerFixture : public testing::Test {
 protected:
  using json = nlohmann::json;

  void start(ModelServerOptions options = {}, ScriptedRunnerOptions runner = {},
             EngineOptions engine = {}) {
    listen(std::move(options));
    load(std::move(runner), std::move(engine));
  }

  void listen(ModelServerOptions options = {}) {
    options.http.port = 0;
    auto server = ModelServer::start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.error().to_string();
    server_ = std::move(*server);
  }

  void load(ScriptedRunnerOptions runner = {}, EngineOptions engine = {}) {
    tokenizer_ = make_tokenizer(vocabulary_);
    runner.vocabulary_size = tokenizer_->vocabulary().size();
    runner.num_blocks = 256;
    engine_ = std::make_unique<Engine>(std::make_unique<ScriptedRunner>(runner), tokenizer_,
                                       std::move(engine));
    ServedModel& model = model_;
    model.engine = engine_.get();
    model.tokenizer = tokenizer_;
    model.chat_template = std::make_shared<ChatTemplate>(
        ChatTemplate::create(ChatTemplate::kChatMl, "<|bos|>", "<|eos|>").value());
    model.name = "scripted";
    model.make_constraint = make_constraint_compiler(tokenizer_);
    model.embedding_length = kScriptedHiddenSize;
    model.default_sampling.temperature = 0;
    server_->serve(model);
  }

  TestResponse post(std::string_view path, const json& body, std::string_view headers = {}) {
    return fetch(server_->port(), "POST", path, body.dump(), headers);
  }
  TestResponse get(std::string_view path, std::string_view headers = {}) {
    return fetch(server_->port(), "GET", path, {}, headers);
  }

  // The documents of an event stream; "[DONE]" as a string.
  static std::vector<json> events_of(const std::string& body) {
    std::vector<json> events;
    std::size_t at = 0;
    while ((at = body.find("data: ", at)) != std::string::npos) {
      const std::size_t end = body.find("\n\n", at);
      const std::string text = body.substr(at + 6, end - at - 6);
      events.push_back(text == "[DONE]" ? json(text) : json::parse(text));
      at = end;
    }
    return events;
  }

  static json chat(int max_tokens = 8) {
    return {{"model", "any"},
            {"messages", {{{"role", "user"}, {"content", "hello world"}}}},
            {"max_tokens", max_tokens},
            {"ignore_eos", true}};
  }

  bool becomes_idle() {
    for (int i = 0; i < 1000; ++i) {
      const EngineStats stats = engine_->stats();
      if (engine_->num_open() == 0 && stats.answers.empty() && stats.blocks_owned == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  VocabularyFields vocabulary_ = small_bpe_fields();
  ServedModel model_;  // what load() gives the server, besides what is set here before
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ModelServer> server_;
};

}  // namespace tandem
