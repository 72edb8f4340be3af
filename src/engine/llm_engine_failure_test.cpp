#include <future>

#include "engine/llm_engine_fixture_for_test.h"

namespace tandem {
namespace {

class LlmEngineFailureTest : public LlmEngineFixture {};

constexpr std::int64_t kVocabulary = kScriptedVocabulary;

TEST_F(LlmEngineFailureTest, AFailedStepFailsTheRequestsItHeldAlone) {
  start({.max_sequences = 1, .fail = [](std::int64_t number) -> std::optional<Error> {
           if (number == 3) return Error{ErrorCode::kInternal, "scripted", {}, {}, {}};
           return std::nullopt;
         }});
  const RequestId held = add({1, 2}, 10);
  const RequestId waiting = add({3, 4}, 10);
  run();
  ASSERT_TRUE(outcomes_[held].error.has_value());
  EXPECT_EQ(outcomes_[held].error->what, "scripted");
  EXPECT_EQ(outcomes_[waiting].tokens[0], expected_answer({3, 4}, 10, kVocabulary));
  expect_all_blocks_back();
}

TEST_F(LlmEngineFailureTest, ALostRunnerIsRebuiltAndTheRestGoesOn) {
  ScriptedRunnerOptions good{.vocabulary_size = kVocabulary};
  good.max_sequences = 2;
  good.num_stages = 2;
  ScriptedRunnerOptions bad = good;
  bad.fail = [](std::int64_t number) -> std::optional<Error> {
    if (number >= 12) return Error{ErrorCode::kDeadline, "stuck", {}, {}, {}};
    return std::nullopt;
  };
  EngineOptions options;
  int rebuilt = 0;
  options.rebuild_runner = [&]() -> Result<std::unique_ptr<ModelRunner>> {
    ++rebuilt;
    return std::unique_ptr<ModelRunner>(std::make_unique<ScriptedRunner>(good));
  };
  start(bad, std::move(options));
  std::vector<RequestId> ids;
  for (std::int32_t i = 0; i < 6; ++i) ids.push_back(add({i, 7, 9, 11, 13}, 20));
  run();
  EXPECT_EQ(rebuilt, 1);
  int failed = 0;
  for (std::int32_t i = 0; i < 6; ++i) {
    AnswerOutcome& outcome = outcomes_[ids[static_cast<std::size_t>(i)]];
    ASSERT_TRUE(outcome.is_over);
    if (outcome.error) {
      ++failed;
    } else {
      EXPECT_EQ(outcome.tokens[0], expected_answer({i, 7, 9, 11, 13}, 20, kVocabulary));
    }
  }
  EXPECT_EQ(failed, 2) << "those that were in flight";
}

// As one with a rank that hangs: it ends when that comes back, and not before.
class HangingRunner : public ScriptedRunner {
 public:
  HangingRunner(ScriptedRunnerOptions options, std::shared_future<void> comes_back)
      : ScriptedRunner(std::move(options)), comes_back_(std::move(comes_back)) {}
  ~HangingRunner() override { comes_back_.wait(); }

 private:
  std::shared_future<void> comes_back_;
};

TEST_F(LlmEngineFailureTest, ARunnerThatHangsIsLeftBehindAndTheRestGoesOn) {
  const ScriptedRunnerOptions good{.max_sequences = 1, .vocabulary_size = kVocabulary};
  ScriptedRunnerOptions bad = good;
  bad.fail = [](std::int64_t) { return Error{ErrorCode::kDeadline, "stuck", {}, {}, {}}; };
  std::promise<void> gate;
  EngineOptions options;
  options.abandon_runner_after_ms = 20;
  options.rebuild_runner = [&]() -> Result<std::unique_ptr<ModelRunner>> {
    return std::unique_ptr<ModelRunner>(std::make_unique<ScriptedRunner>(good));
  };
  start_with(std::make_unique<HangingRunner>(bad, gate.get_future().share()), std::move(options));
  const RequestId held = add({1}, 5);
  const RequestId other = add({2}, 5);
  run();
  EXPECT_TRUE(outcomes_[held].error.has_value());
  EXPECT_FALSE(outcomes_[other].error.has_value());
  EXPECT_EQ(outcomes_[other].tokens[0], expected_answer({2}, 5, kVocabulary));
  EXPECT_EQ(engine_->stats().failure, "");
  gate.set_value();
}

TEST_F(LlmEngineFailureTest, ARebuildThatHangsIsAFailure) {
  ScriptedRunnerOptions bad;
  bad.fail = [](std::int64_t) { return Error{ErrorCode::kDeadline, "stuck", {}, {}, {}}; };
  std::promise<void> gate;
  EngineOptions options;
  options.rebuild_deadline_ms = 20;
  options.rebuild_runner =
      [back = gate.get_future().share()]() -> Result<std::unique_ptr<ModelRunner>> {
    back.wait();
    return Error{ErrorCode::kDeviceFailed, "too late", {}, {}, {}};
  };
  start(bad, std::move(options));
  const RequestId id = add({1}, 5);
  run();
  EXPECT_TRUE(outcomes_[id].error.has_value());
  EXPECT_NE(engine_->stats().failure.find("cannot be rebuilt: it was not done in time"),
            std::string::npos);
  gate.set_value();
}

// What a GPU is after an illegal access: every later use by the same process fails too. Whoever
// supervises learns what happened first, and that a device did it.
TEST_F(LlmEngineFailureTest, ALossForGoodIsToldOnceWithItsCause) {
  struct Case {
    ErrorCode cause, in_vain, loss;
  };
  for (const Case& one :
       {Case{ErrorCode::kDeviceFailed, ErrorCode::kOutOfMemory, ErrorCode::kDeviceFailed},
        Case{ErrorCode::kDeadline, ErrorCode::kDeviceFailed, ErrorCode::kDeviceFailed},
        Case{ErrorCode::kOutOfMemory, ErrorCode::kNotFound, ErrorCode::kOutOfMemory}}) {
    ScriptedRunnerOptions bad;
    bad.fail = [&](std::int64_t) { return Error{one.cause, "in step 3", "cuda:1", {}, {}}; };
    EngineOptions options;
    options.rebuild_runner = [&]() -> Result<std::unique_ptr<ModelRunner>> {
      return Error{one.in_vain, "no use", "cuda:0", {}, {}};
    };
    std::vector<Error> losses;
    options.on_lost = [&](const Error& loss) { losses.push_back(loss); };
    start(bad, std::move(options));
    (void)add({1}, 5);
    run();
    (void)add({2}, 5);
    run();
    ASSERT_EQ(losses.size(), 1u);
    EXPECT_EQ(losses[0].code, one.loss);
    EXPECT_EQ(losses[0].to_string(),
              "cuda:1: in step 3; the ranks cannot be rebuilt: cuda:0: no use");
    EXPECT_EQ(engine_->stats().failure, losses[0].to_string());
  }
}

TEST_F(LlmEngineFailureTest, ARunnerLostForGoodFailsAllAndWhatComesLater) {
  start({.max_sequences = 1, .fail = [](std::int64_t) -> std::optional<Error> {
           return Error{ErrorCode::kPeerLost, "gone", {}, {}, {}};
         }});
  const RequestId a = add({1}, 5);
  const RequestId b = add({2}, 5);
  run();
  EXPECT_TRUE(outcomes_[a].error.has_value());
  EXPECT_TRUE(outcomes_[b].error.has_value());
  EXPECT_NE(engine_->stats().failure, "");
  const RequestId c = add({3}, 5);
  EXPECT_TRUE(outcomes_[c].error.has_value());
}

}  // namespace
}  // namespace tandem
