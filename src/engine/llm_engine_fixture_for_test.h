#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "engine/llm_engine.h"
#include "engine/scripted_runner_for_test.h"

namespace tandem {

inline constexpr std::int64_t kScriptedVocabulary = 101;

// What came of one request.
struct AnswerOutcome {
  std::map<std::int32_t, std::vector<std::int32_t>> tokens;  // by choice
  std::map<std::int32_t, FinishEvent> finishes;
  std::optional<Error> error;
  bool is_over = false;
};

// An LlmEngine over a scripted runner, stepped by hand; what its requests got.
class LlmEngineFixture : public testing::Test {
 protected:
  void start(ScriptedRunnerOptions runner, EngineOptions options = {}) {
    runner.vocabulary_size = kScriptedVocabulary;
    start_with(std::make_unique<ScriptedRunner>(runner), std::move(options));
  }
  void start_with(std::unique_ptr<ModelRunner> runner, EngineOptions options) {
    engine_ = std::make_unique<LlmEngine>(std::move(runner), nullptr, std::move(options));
  }

  RequestId add(std::vector<std::int32_t> prompt, std::int32_t max_tokens, std::int32_t n = 1) {
    GenerationRequest request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.num_choices = n;
    return add(std::move(request));
  }

  RequestId add(GenerationRequest request) {
    const RequestId id = next_id_++;
    EXPECT_TRUE(engine_->check(request).ok());
    AnswerOutcome& outcome = outcomes_[id];
    engine_->add(id, std::move(request), [&outcome](GenerationEvent event) {
      ASSERT_FALSE(outcome.is_over) << "an event after the last one";
      if (const auto* text = std::get_if<TextEvent>(&event)) {
        for (const auto& token : text->tokens) outcome.tokens[text->choice].push_back(token.token);
      } else if (const auto* finish = std::get_if<FinishEvent>(&event)) {
        ASSERT_TRUE(outcome.finishes.emplace(finish->choice, *finish).second);
        outcome.is_over = finish->is_last;
      } else {
        outcome.error = std::get<ErrorEvent>(event).error;
        outcome.is_over = true;
      }
    });
    return id;
  }

  // Steps until nothing is left, with all accounts checked after each one.
  int run(int most = 100'000) {
    int steps = 0;
    while (engine_->step()) {
      EXPECT_EQ(engine_->find_fault(), "");
      if (testing::Test::HasFailure() || ++steps > most) {
        ADD_FAILURE() << "stopped after " << steps << " steps";
        break;
      }
    }
    return steps;
  }

  void expect_all_blocks_back() {
    EXPECT_EQ(engine_->stats().blocks_owned, 0);
    EXPECT_TRUE(engine_->stats().answers.empty());
  }

  std::unique_ptr<LlmEngine> engine_;
  std::map<RequestId, AnswerOutcome> outcomes_;
  RequestId next_id_ = 1;
};

}  // namespace tandem
