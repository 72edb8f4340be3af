#include "engine/draft_model.h"

#include <gtest/gtest.h>

#include "engine/llm_engine.h"
#include "engine/scripted_runner_for_test.h"

namespace tandem {
namespace {

constexpr std::int64_t kVocabulary = 101;

std::unique_ptr<ScriptedRunner> scripted(ScriptedRunnerOptions options = {}) {
  options.vocabulary_size = kVocabulary;
  return std::make_unique<ScriptedRunner>(std::move(options));
}

std::vector<std::int32_t> drafts_of(DraftModel& model, std::uint64_t id,
                                    const std::vector<std::int32_t>& tokens, std::int32_t most) {
  DraftRequest request{.id = id, .tokens = tokens, .max_drafts = most};
  model.propose({&request, 1});
  return request.drafts;
}

// A model drafts exactly what it would say itself, whatever was drafted and refused before.
TEST(DraftModel, GuessesWhatItsModelSays) {
  DraftModel model(scripted({.max_batch_tokens = 8}), {.max_drafts = 5});
  std::vector<std::int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  for (int round = 0; round < 6; ++round) {
    EXPECT_EQ(drafts_of(model, 7, tokens, 9), expected_answer(tokens, 5, kVocabulary));
    tokens.push_back(round % 2 ? 50 : expected_answer(tokens, 1, kVocabulary)[0]);
    if (round == 3) tokens.resize(4);
  }
}

TEST(DraftModel, KeepsSequencesApartAndTakesNoMoreThanItHasRoomFor) {
  DraftModel model(scripted({.num_blocks = 8, .max_sequences = 2}), {.max_drafts = 3});
  std::vector<DraftRequest> requests;
  const std::vector<std::vector<std::int32_t>> tokens = {{1, 2, 3}, {4, 5}, {6, 7}};
  for (std::size_t i = 0; i < 3; ++i) requests.push_back({i, tokens[i], 3, {}});
  model.propose(requests);
  EXPECT_EQ(requests[0].drafts, expected_answer(tokens[0], 3, kVocabulary));
  EXPECT_EQ(requests[1].drafts, expected_answer(tokens[1], 3, kVocabulary));
  EXPECT_TRUE(requests[2].drafts.empty()) << "both parts of the cache are taken";
  model.forget(0);
  EXPECT_EQ(drafts_of(model, 2, tokens[2], 3), expected_answer(tokens[2], 3, kVocabulary));
  EXPECT_TRUE(drafts_of(model, 1, std::vector<std::int32_t>(14, 1), 3).empty()) << "too long";
}

TEST(DraftModel, StopsWhereItIsUnsure) {
  DraftModel model(scripted(), {.max_drafts = 5, .min_probability = 0.9999f});
  EXPECT_TRUE(drafts_of(model, 1, {1, 2}, 5).empty());
}

// As from all logits, where only the best comes back with the sum of all.
TEST(DraftModel, ProposesFromTheBestLogitsAlone) {
  ScriptedRunnerOptions options;
  options.gives_candidates = true;
  DraftModel all(scripted(), {.max_drafts = 4}), best(scripted(options), {.max_drafts = 4});
  EXPECT_EQ(drafts_of(best, 1, {1, 2}, 4), drafts_of(all, 1, {1, 2}, 4));
  DraftModel unsure(scripted(options), {.max_drafts = 4, .min_probability = 0.9999f});
  EXPECT_TRUE(drafts_of(unsure, 1, {1, 2}, 4).empty());
}

TEST(DraftModel, AFailureEndsDraftsAndNothingElse) {
  ScriptedRunnerOptions options;
  options.fail = [](std::int64_t number) -> std::optional<Error> {
    if (number < 3) return std::nullopt;
    return Error{ErrorCode::kDeviceFailed, "burnt", {}, {}, {}};
  };
  DraftModel model(scripted(options), {.max_drafts = 3});
  EXPECT_EQ(drafts_of(model, 1, {1, 2}, 3).size(), 3u);
  EXPECT_TRUE(drafts_of(model, 1, {1, 2, 3}, 3).empty());
  EXPECT_TRUE(drafts_of(model, 2, {1, 2, 3}, 3).empty());
}

// The engine with a draft model says what it says without, in fewer steps.
TEST(DraftModel, AnswersAreTheSameWithFewerSteps) {
  EngineOptions options;
  options.draft_tokens = 4;
  options.draft_model = std::make_shared<DraftModel>(scripted(), DraftOptions{.max_drafts = 4});
  LlmEngine engine(scripted({.block_tokens = 16}), nullptr, options);
  std::vector<std::vector<std::int32_t>> answers(3);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    GenerationRequest request;
    request.prompt = {std::int32_t(i), 2, 3, 4, 5};
    request.max_tokens = 40;
    engine.add(i, std::move(request), [&answers, i](GenerationEvent event) {
      const auto* text = std::get_if<TextEvent>(&event);
      if (text == nullptr) return;
      for (const auto& token : text->tokens) answers[i].push_back(token.token);
    });
  }
  while (engine.step()) EXPECT_EQ(engine.find_fault(), "");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i], expected_answer({std::int32_t(i), 2, 3, 4, 5}, 40, kVocabulary));
  }
  EXPECT_LT(engine.stats().counters.steps, 25);
  EXPECT_GT(engine.stats().counters.accepted_tokens, 50);
}

}  // namespace
}  // namespace tandem
