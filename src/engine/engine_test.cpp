#include "engine/engine.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <future>
#include <random>

#include "engine/scripted_runner_for_test.h"

namespace tandem {
namespace {

using namespace std::chrono_literals;

GenerationRequest request_of(std::vector<std::int32_t> prompt, std::int32_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

// Gathers one request's tokens; get() waits for the last event.
class Reader {
 public:
  EventSink sink() {
    return [this](GenerationEvent event) {
      if (const auto* text = std::get_if<TextEvent>(&event)) {
        for (const auto& token : text->tokens) tokens_.push_back(token.token);
      } else {
        last_.set_value(std::move(event));
      }
    };
  }
  GenerationEvent get() { return future_.get(); }
  const std::vector<std::int32_t>& tokens() const { return tokens_; }

 private:
  std::vector<std::int32_t> tokens_;
  std::promise<GenerationEvent> last_;
  std::future<GenerationEvent> future_ = last_.get_future();
};

// The count falls after the last event is out.
bool is_idle(const Engine& engine) {
  for (int i = 0; i < 1000 && engine.num_open() > 0; ++i) std::this_thread::sleep_for(1ms);
  return engine.num_open() == 0;
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST(Engine, AnswersAndThenUsesNoCpu) {
  Engine engine(std::make_unique<ScriptedRunner>(ScriptedRunnerOptions{}), nullptr, {});
  Reader reader;
  ASSERT_TRUE(engine.submit(request_of({1, 2, 3}, 5), reader.sink()).ok());
  reader.get();
  EXPECT_EQ(reader.tokens(), expected_answer({1, 2, 3}, 5, 101));
  const double before = cpu_seconds();
  std::this_thread::sleep_for(300ms);
  EXPECT_LT(cpu_seconds() - before, 0.03);
  EXPECT_TRUE(is_idle(engine));
}

TEST(Engine, RefusesMoreThanItsQueueHolds) {
  EngineOptions options;
  options.max_queued = 2;
  Engine engine(
      std::make_unique<ScriptedRunner>(ScriptedRunnerOptions{.max_sequences = 1, .step_us = 2000}),
      nullptr, options);
  std::array<Reader, 3> readers;
  for (Reader& reader : readers) {
    ASSERT_TRUE(engine.submit(request_of({1}, 20), reader.sink()).ok());
  }
  const auto refused = engine.submit(request_of({1}, 20), [](GenerationEvent) { FAIL(); });
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kBusy);
  for (Reader& reader : readers) reader.get();
  ASSERT_TRUE(is_idle(engine));
  Reader reader;
  EXPECT_TRUE(engine.submit(request_of({1}, 1), reader.sink()).ok()) << "room again";
  reader.get();
}

TEST(Engine, WhoHasComeIsSeenBeforeTheStepEnds) {
  std::promise<void> gate;
  ScriptedRunnerOptions runner{
      .on_submit = [opened = gate.get_future().share()](const StepBatch&) { opened.wait(); }};
  Engine engine(std::make_unique<ScriptedRunner>(runner), nullptr, {});
  Reader reader;
  ASSERT_TRUE(engine.submit(request_of({1, 2, 3}, 2), reader.sink()).ok());
  for (int i = 0; i < 5000 && engine.stats().answers.empty(); ++i) {
    std::this_thread::sleep_for(1ms);
  }
  const EngineStats stats = engine.stats();
  gate.set_value();
  ASSERT_EQ(stats.answers.size(), 1u);
  EXPECT_EQ(stats.answers[0].prompt_tokens, 3);
  reader.get();
}

TEST(Engine, CancelTakesOneStepAtMost) {
  std::atomic<int> steps = 0;
  ScriptedRunnerOptions runner{.step_us = 1000, .on_submit = [&](const StepBatch&) { ++steps; }};
  Engine engine(std::make_unique<ScriptedRunner>(runner), nullptr, {});
  Reader reader;
  const auto id = engine.submit(request_of({1}, 200), reader.sink());
  while (steps < 10) std::this_thread::sleep_for(1ms);
  const int before = steps;
  engine.cancel(*id);
  const GenerationEvent last = reader.get();
  EXPECT_LE(steps, before + 2) << "the step that ran, and one that may have begun meanwhile";
  EXPECT_EQ(std::get<FinishEvent>(last).reason, FinishReason::kCancelled);
}

TEST(Engine, DestructionEndsWhatRuns) {
  Reader reader;
  {
    Engine engine(std::make_unique<ScriptedRunner>(ScriptedRunnerOptions{.step_us = 500}), nullptr,
                  {});
    ASSERT_TRUE(engine.submit(request_of({1}, -1), reader.sink()).ok());
  }
  EXPECT_EQ(std::get<FinishEvent>(reader.get()).reason, FinishReason::kCancelled);
}

TEST(Engine, ManyThreadsSubmitAndCancel) {
  ScriptedRunnerOptions runner{.num_stages = 2, .num_blocks = 40, .max_sequences = 6};
  EngineOptions options;
  options.max_queued = 1000;
  Engine engine(std::make_unique<ScriptedRunner>(runner), nullptr, options);
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 60; ++i) {
        const std::vector<std::int32_t> prompt = {static_cast<std::int32_t>(random() % 101), 5, 6};
        Reader reader;
        const auto id = engine.submit(request_of(prompt, 20), reader.sink());
        ASSERT_TRUE(id.ok());
        if (random() % 3 == 0) engine.cancel(*id);
        (void)engine.stats();
        reader.get();
        EXPECT_EQ(reader.tokens(),
                  expected_answer(prompt, std::int32_t(reader.tokens().size()), 101));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(is_idle(engine));
}

}  // namespace
}  // namespace tandem
