#include <array>
#include <map>
#include <random>

#include "engine/llm_engine_fixture_for_test.h"
#include "engine/sampler.h"

namespace tandem {
namespace {

class LlmEngineTest : public LlmEngineFixture {};

constexpr std::int64_t kVocabulary = kScriptedVocabulary;

std::vector<std::int32_t> random_prompt(std::mt19937& random, std::size_t length) {
  std::vector<std::int32_t> prompt(length);
  for (auto& token : prompt) token = static_cast<std::int32_t>(random() % kVocabulary);
  return prompt;
}

// Rows whose best are all that comes back, beside rows of a sequence that needs its
// log-probabilities.
TEST_F(LlmEngineTest, AnswersFromTheBestLogitsAlone) {
  int rows[2] = {};
  start({.gives_candidates = true, .on_submit = [&rows](const StepBatch& batch) {
           ASSERT_EQ(batch.output_candidates.size(), batch.output_rows.size());
           for (const std::int32_t count : batch.output_candidates) ++rows[count];
         }});
  const RequestId few = add({5, 6, 7}, 6);
  GenerationRequest all;
  all.prompt = {8, 9};
  all.max_tokens = 6;
  all.sampling.num_logprobs = 0;
  const RequestId every = add(std::move(all));
  run();
  EXPECT_EQ(outcomes_[few].tokens[0], expected_answer({5, 6, 7}, 6, kVocabulary));
  EXPECT_EQ(outcomes_[every].tokens[0], expected_answer({8, 9}, 6, kVocabulary));
  EXPECT_EQ(rows[0], 6);
  EXPECT_EQ(rows[1], 6);
}

// Penalties and biases are obeyed where logits lie, behind drafts as well: the same answers as
// where all logits come back, which do not.
TEST_F(LlmEngineTest, PenaltiesAreObeyedWhereLogitsLie) {
  std::vector<std::int32_t> answers[2];
  for (const bool gives_candidates : {false, true}) {
    int changes = 0, behind_drafts = 0;
    ScriptedRunnerOptions runner{.num_blocks = 256, .gives_candidates = gives_candidates};
    runner.on_submit = [&](const StepBatch& batch) {
      changes += static_cast<int>(batch.logit_changes.size());
      behind_drafts += batch.output_rows.size() > 1;
    };
    EngineOptions options;
    options.draft_tokens = 3;
    options.make_sampler = [](const SamplingParams& params) {
      return std::make_unique<Sampler>(params, [](std::int32_t) { return std::string(); });
    };
    start(runner, std::move(options));
    GenerationRequest request;
    request.prompt = {5, 6, 7, 5, 6, 7, 5};
    request.max_tokens = 60;
    request.sampling.temperature = 0;
    // Three tokens in turn, whoever was said least of late: what repeats itself is guessed.
    request.sampling.logit_bias = {{30, 15.0f}, {31, 14.9f}, {32, 14.8f}};
    request.sampling.penalties = {
        .last_n = 12, .repeat = 1.1f, .frequency = 0.6f, .presence = 0.2f};
    const RequestId id = add(std::move(request));
    run();
    answers[gives_candidates] = outcomes_[id].tokens[0];
    EXPECT_EQ(answers[gives_candidates].size(), 60u);
    EXPECT_GT(changes, 60);
    EXPECT_GT(behind_drafts, 0);
  }
  EXPECT_EQ(answers[1], answers[0]);
  EXPECT_NE(answers[0], expected_answer({5, 6, 7, 5, 6, 7, 5}, 60, kVocabulary));
}

TEST_F(LlmEngineTest, AnswersOneRequest) {
  start({});
  const RequestId id = add({1, 2, 3, 4, 5}, 10);
  run();
  EXPECT_EQ(outcomes_[id].tokens[0], expected_answer({1, 2, 3, 4, 5}, 10, kVocabulary));
  const FinishEvent& finish = outcomes_[id].finishes.at(0);
  EXPECT_EQ(finish.reason, FinishReason::kLength);
  EXPECT_EQ(finish.usage.prompt_tokens, 5);
  EXPECT_EQ(finish.usage.completion_tokens, 10);
  EXPECT_TRUE(outcomes_[id].is_over);
  expect_all_blocks_back();
}

// Prompts' embeddings beside answers, with too few blocks: chunks, pre-emption and the prefix cache
// leave no trace in them.
TEST_F(LlmEngineTest, PoolsHiddenStatesHoweverPromptsAreCut) {
  std::mt19937 random(5);
  start({.num_blocks = 24, .max_sequences = 6, .max_batch_tokens = 7});
  const std::vector<std::int32_t> common = random_prompt(random, 16);
  struct Wanted {
    std::vector<std::int32_t> prompt;
    Pooling pooling;
  };
  std::map<RequestId, Wanted> wanted;
  for (int i = 0; i < 40; ++i) {
    const auto length = static_cast<std::int32_t>(1 + random() % 20);
    add(random_prompt(random, 1 + random() % 30), length);
    auto prompt = random() % 2 ? common : std::vector<std::int32_t>();
    for (const auto token : random_prompt(random, 1 + random() % 30)) prompt.push_back(token);
    GenerationRequest request;
    request.prompt = prompt;
    request.pooling = std::array{Pooling::kMean, Pooling::kFirst, Pooling::kLast}[random() % 3];
    const Wanted expected{prompt, request.pooling};
    wanted.emplace(add(std::move(request)), expected);
  }
  run();
  for (const auto& [id, expected] : wanted) {
    std::vector<float> mean(kScriptedHiddenSize, 0.0f);
    const auto length = expected.prompt.size();
    const std::size_t first = expected.pooling == Pooling::kLast ? length : 1;
    const std::size_t last = expected.pooling == Pooling::kFirst ? 1 : length;
    for (std::size_t n = first; n <= last; ++n) {
      const auto end = expected.prompt.begin() + static_cast<std::ptrdiff_t>(n);
      const auto hidden = scripted_hidden({expected.prompt.begin(), end});
      for (std::size_t k = 0; k < mean.size(); ++k) {
        mean[k] += hidden[k] / static_cast<float>(last - first + 1);
      }
    }
    const FinishEvent& finish = outcomes_[id].finishes.at(0);
    ASSERT_EQ(finish.embedding.size(), mean.size());
    for (std::size_t k = 0; k < mean.size(); ++k) EXPECT_NEAR(finish.embedding[k], mean[k], 1e-4f);
    EXPECT_TRUE(outcomes_[id].tokens.empty());
  }
  expect_all_blocks_back();
}

TEST_F(LlmEngineTest, AnswersUntilTheContextIsFull) {
  start({.num_blocks = 4, .context_tokens = 12});
  const RequestId id = add({1, 2, 3}, -1);
  run();
  EXPECT_EQ(outcomes_[id].tokens[0].size(), 9u);
  EXPECT_EQ(outcomes_[id].finishes.at(0).reason, FinishReason::kLength);
}

TEST_F(LlmEngineTest, RefusesWhatCanNeverRun) {
  start({.num_blocks = 4});
  GenerationRequest request;
  EXPECT_EQ(engine_->check(request).error().code, ErrorCode::kInvalidArgument);
  request.prompt.assign(16, 1);
  EXPECT_FALSE(engine_->check(request).ok());
  request.prompt.assign(15, 1);
  EXPECT_TRUE(engine_->check(request).ok());
  request.prompt[3] = kVocabulary;
  EXPECT_FALSE(engine_->check(request).ok());
  request.prompt[3] = -1;
  EXPECT_FALSE(engine_->check(request).ok());
  request.prompt[3] = 1;
  request.num_choices = 0;
  EXPECT_FALSE(engine_->check(request).ok());
  request.num_choices = 1'000'000;
  EXPECT_FALSE(engine_->check(request).ok());
}

TEST_F(LlmEngineTest, AnAnswerIsTheSameAloneAndAmongOthers) {
  std::mt19937 random(1);
  start({.num_blocks = 512, .max_sequences = 32, .max_batch_tokens = 64});
  std::map<RequestId, std::vector<std::int32_t>> expected;
  for (int i = 0; i < 32; ++i) {
    const auto prompt = random_prompt(random, 1 + random() % 40);
    const auto length = static_cast<std::int32_t>(1 + random() % 20);
    expected[add(prompt, length)] = expected_answer(prompt, length, kVocabulary);
  }
  run();
  for (const auto& [id, tokens] : expected) EXPECT_EQ(outcomes_[id].tokens[0], tokens);
  expect_all_blocks_back();
}

TEST_F(LlmEngineTest, TakesAKnownPrefixFromTheCache) {
  start({});
  const std::vector<std::int32_t> prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  add(prompt, 3);
  run();
  const RequestId again = add(prompt, 3);
  run();
  EXPECT_EQ(outcomes_[again].finishes.at(0).usage.cached_tokens, 8);
  EXPECT_EQ(outcomes_[again].tokens[0], expected_answer(prompt, 3, kVocabulary));

  GenerationRequest private_request;
  private_request.prompt = prompt;
  private_request.max_tokens = 3;
  private_request.cache_prompt = false;
  const RequestId alone = add(std::move(private_request));
  run();
  EXPECT_EQ(outcomes_[alone].finishes.at(0).usage.cached_tokens, 0);
}

TEST_F(LlmEngineTest, TheLastTokenOfAKnownPromptIsComputedAllTheSame) {
  start({});
  const std::vector<std::int32_t> prompt = {1, 2, 3, 4, 5, 6, 7, 8};  // two full blocks
  add(prompt, 2);
  run();
  const RequestId again = add(prompt, 2);
  run();
  EXPECT_EQ(outcomes_[again].finishes.at(0).usage.cached_tokens, 4);
  EXPECT_EQ(outcomes_[again].tokens[0], expected_answer(prompt, 2, kVocabulary));
}

TEST_F(LlmEngineTest, ChoicesShareThePromptsBlocks) {
  std::int32_t owned = 0;
  start({.num_blocks = 64, .on_submit = [&](const StepBatch&) {
           owned = std::max(owned, engine_->stats().blocks_owned);
         }});
  const std::vector<std::int32_t> prompt(17, 3);  // four full blocks and a token
  const RequestId id = add(prompt, 3, 4);
  run();
  EXPECT_EQ(owned, 4 + 4) << "four shared blocks, and each choice its own last one";
  for (std::int32_t choice = 0; choice < 4; ++choice) {
    EXPECT_EQ(outcomes_[id].tokens[choice], expected_answer(prompt, 3, kVocabulary));
  }
  EXPECT_EQ(outcomes_[id].finishes.size(), 4u);
  expect_all_blocks_back();
}

TEST_F(LlmEngineTest, PreemptsTheLatestAndLosesNothing) {
  // Four answers of 4 + 28 tokens need 32 blocks; there are 12.
  start({.num_blocks = 12, .max_sequences = 4});
  std::map<RequestId, std::vector<std::int32_t>> expected;
  for (std::int32_t i = 0; i < 4; ++i) {
    const std::vector<std::int32_t> prompt = {i, i + 1, i + 2, i + 3};
    expected[add(prompt, 28)] = expected_answer(prompt, 28, kVocabulary);
  }
  run();
  EXPECT_GT(engine_->stats().preemptions, 0);
  for (const auto& [id, tokens] : expected) EXPECT_EQ(outcomes_[id].tokens[0], tokens);
  expect_all_blocks_back();
}

TEST_F(LlmEngineTest, TheEarliestIsNeverHeldUpByLaterOnes) {
  start({.num_blocks = 12, .max_sequences = 4});
  const RequestId first = add({1, 2, 3, 4}, 40);
  for (std::int32_t i = 0; i < 30; ++i) add({i, i, i}, 20);
  int steps = 0;
  while (!outcomes_[first].is_over && engine_->step()) ++steps;
  EXPECT_LE(steps, 42) << "one step for the prompt, one for each token";
  run();
  for (const auto& [id, outcome] : outcomes_) EXPECT_TRUE(outcome.is_over) << id;
}

TEST_F(LlmEngineTest, AShortPromptPassesALongOneThatComesIn) {
  start({.num_blocks = 512, .max_batch_tokens = 16});
  const RequestId long_one = add(std::vector<std::int32_t>(1000, 5), 1);
  engine_->step();
  const RequestId short_one = add({1, 2, 3}, 1);
  for (int i = 0; i < 3; ++i) engine_->step();
  EXPECT_TRUE(outcomes_[short_one].is_over);
  EXPECT_FALSE(outcomes_[long_one].is_over);
  run();
}

// Short prompts that come all the time pass a long one, but do not keep it out.
TEST_F(LlmEngineTest, ALongPromptComesInHoweverManyShortOnesCome) {
  std::mt19937 random(3);
  start({.num_blocks = 200, .max_sequences = 8, .max_batch_tokens = 16});
  const RequestId early = add(random_prompt(random, 30), 200);  // decodes all the while
  const RequestId longest = add(random_prompt(random, 200), 1);
  std::int32_t steps = 0;
  while (outcomes_[longest].tokens.empty() && ++steps < 400) {
    while (engine_->stats().answers.size() < 8) add(random_prompt(random, 6), 2);
    ASSERT_TRUE(engine_->step());
  }
  EXPECT_LT(steps, 200) << "a token a step would have been slow";
  EXPECT_FALSE(outcomes_[early].tokens.empty());
}

TEST_F(LlmEngineTest, AnswersGoOnWhileALongPromptComesIn) {
  start({.num_blocks = 512, .max_batch_tokens = 64});
  const RequestId reader = add({1, 2, 3}, 100);
  engine_->step();
  add(std::vector<std::int32_t>(1000, 5), 1);
  const auto before = outcomes_[reader].tokens[0].size();
  for (int i = 0; i < 10; ++i) engine_->step();
  EXPECT_EQ(outcomes_[reader].tokens[0].size(), before + 10) << "a token with every step";
  run();
}

TEST_F(LlmEngineTest, CancelFreesBlocksQueuedPrefillingAndDecoding) {
  start({.num_blocks = 64, .max_sequences = 1, .max_batch_tokens = 8});
  const RequestId prefilling = add(std::vector<std::int32_t>(40, 1), 5);
  const RequestId queued = add({1, 2}, 5);
  engine_->step();
  engine_->cancel(prefilling);
  engine_->cancel(queued);
  EXPECT_TRUE(outcomes_[prefilling].is_over);
  EXPECT_EQ(outcomes_[queued].finishes.at(0).reason, FinishReason::kCancelled);
  expect_all_blocks_back();
  const RequestId decoding = add({4, 5}, 50);
  for (int i = 0; i < 5; ++i) engine_->step();
  engine_->cancel(decoding);
  expect_all_blocks_back();
  engine_->cancel(decoding);  // once more does nothing
  EXPECT_FALSE(engine_->step());
}

TEST_F(LlmEngineTest, EveryStageOfAPipelineHasAStep) {
  std::int32_t largest = 0;
  start(
      {.num_stages = 2, .num_blocks = 256, .max_sequences = 8, .on_submit = [&](const auto& step) {
         if (step.num_tokens() == std::ssize(step.sequences)) {
           largest = std::max(largest, step.num_tokens());
         }
       }});
  std::map<RequestId, std::vector<std::int32_t>> expected;
  for (std::int32_t i = 0; i < 8; ++i)
    expected[add({i}, 50)] = expected_answer({i}, 50, kVocabulary);
  const int steps = run();
  EXPECT_LE(largest, 4) << "half of the answers in each of two steps";
  EXPECT_LE(steps, 2 * 50 + 4);
  for (const auto& [id, tokens] : expected) EXPECT_EQ(outcomes_[id].tokens[0], tokens);
}

TEST_F(LlmEngineTest, CancelDuringFlightFreesAtTheStepsEnd) {
  start({.num_stages = 2, .max_sequences = 4});
  const RequestId a = add({1, 2, 3}, 50);
  const RequestId b = add({4, 5, 6}, 50);
  for (int i = 0; i < 4; ++i) engine_->step();
  engine_->cancel(a);
  engine_->cancel(b);
  run();
  expect_all_blocks_back();
}

TEST_F(LlmEngineTest, SpeculationChangesNoTokenAndSavesSteps) {
  // A vocabulary of 3 repeats itself soon, so lookups find something.
  ScriptedRunnerOptions runner{.num_blocks = 256, .vocabulary_size = 3};
  EngineOptions options;
  options.draft_tokens = 4;
  LlmEngine engine(std::make_unique<ScriptedRunner>(runner), nullptr, options);
  std::vector<std::int32_t> tokens;
  GenerationUsage usage;
  GenerationRequest request;
  request.prompt = {0, 1, 2};
  request.max_tokens = 300;
  engine.add(1, request, [&](GenerationEvent event) {
    if (const auto* text = std::get_if<TextEvent>(&event)) {
      for (const auto& token : text->tokens) tokens.push_back(token.token);
    }
    if (const auto* finish = std::get_if<FinishEvent>(&event)) usage = finish->usage;
  });
  int steps = 0;
  while (engine.step()) {
    ASSERT_EQ(engine.find_fault(), "");
    ++steps;
  }
  EXPECT_EQ(tokens, expected_answer({0, 1, 2}, 300, 3));
  EXPECT_GT(usage.accepted_tokens, 0);
  EXPECT_EQ(steps, 300 - usage.accepted_tokens);
}

// Random requests, lengths, cancellations and too few blocks, over one to three stages.
TEST_F(LlmEngineTest, NoTokenIsEverWrongUnderRandomLoad) {
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    ScriptedRunnerOptions runner;
    runner.num_stages = static_cast<std::int32_t>(1 + seed % 3);
    runner.num_blocks = static_cast<std::int32_t>(12 + random() % 30);
    runner.max_sequences = static_cast<std::int32_t>(1 + random() % 8);
    runner.max_batch_tokens = static_cast<std::int32_t>(4 + random() % 40);
    EngineOptions options;
    options.draft_tokens = seed % 4 == 0 ? 3 : 0;
    start(runner, options);
    std::map<RequestId, std::vector<std::int32_t>> prompts;
    const std::vector<std::int32_t> common = random_prompt(random, 13);
    for (int i = 0; i < 120; ++i) {
      auto prompt = random_prompt(random, 1 + random() % 12);
      if (random() % 2 == 0) prompt.insert(prompt.begin(), common.begin(), common.end());
      const auto n = static_cast<std::int32_t>(1 + (random() % 4 == 0 ? random() % 3 : 0));
      const RequestId id = add(prompt, static_cast<std::int32_t>(1 + random() % 20), n);
      prompts[id] = std::move(prompt);
      for (auto steps = random() % 6; steps > 0; --steps) {
        engine_->step();
        ASSERT_EQ(engine_->find_fault(), "");
      }
      if (random() % 6 == 0) engine_->cancel(1 + random() % id);
    }
    run();
    for (auto& [id, prompt] : prompts) {
      AnswerOutcome& outcome = outcomes_[id];
      ASSERT_TRUE(outcome.is_over) << id;
      for (auto& [choice, tokens] : outcome.tokens) {
        ASSERT_EQ(tokens,
                  expected_answer(prompt, static_cast<std::int32_t>(tokens.size()), kVocabulary))
            << "request " << id << " choice " << choice;
      }
    }
    expect_all_blocks_back();
    outcomes_.clear();
  }
}

}  // namespace
}  // namespace tandem
