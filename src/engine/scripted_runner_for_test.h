#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "runtime/runtime.h"

namespace tandem {

// The token that the scripted model says after `history`: any function of the whole of it will do.
std::int32_t scripted_next_token(const std::vector<std::int32_t>& history,
                                 std::int64_t vocabulary_size);

struct ScriptedRunnerOptions {
  std::int32_t num_stages = 1;
  std::int32_t block_tokens = 4;
  std::int32_t num_blocks = 64;
  std::int32_t max_sequences = 8;
  std::int32_t max_batch_tokens = 64;
  std::int32_t max_output_rows = 64;
  std::int64_t context_tokens = 0;
  std::int64_t vocabulary_size = 101;
  std::int64_t step_us = 0;  // how long wait() takes
  // Rows of which only the best are wanted have these alone, as on GPUs.
  bool gives_candidates = false;
  // What wait() of a step answers instead of its result, for step numbers from 0.
  std::function<std::optional<Error>(std::int64_t number)> fail = {};
  // Sees every step as it is submitted.
  std::function<void(const StepBatch& batch)> on_submit = {};
};

// The hidden state that the scripted model has after `history`.
std::vector<float> scripted_hidden(const std::vector<std::int32_t>& history);
inline constexpr std::int64_t kScriptedHiddenSize = 3;

// A ModelRunner whose KV cache holds the tokens themselves, written and read back through slots
// and block tables. Its logits depend on every token that it reads back, so an answer differs from
// expected_answer() if any block was mixed up, lost or overwritten.
class ScriptedRunner : public ModelRunner {
 public:
  explicit ScriptedRunner(ScriptedRunnerOptions options);

  const Plan& plan() const override { return plan_; }
  std::int64_t vocabulary_size() const override { return options_.vocabulary_size; }
  Result<std::int64_t> submit(std::shared_ptr<const StepBatch> batch) override;
  Result<StepResult> wait(std::int64_t number) override;

 private:
  StepResult compute(const StepBatch& batch);
  void pick_candidates(const StepBatch& batch, StepResult& result) const;
  std::vector<std::int32_t> history_of(const StepBatch& batch, std::int32_t row) const;

  ScriptedRunnerOptions options_;
  Plan plan_;
  std::vector<std::int32_t> cache_;  // [num_blocks * block_tokens], a token each; -1: never written
  std::int64_t next_number_ = 0;
  std::deque<std::pair<std::int64_t, std::shared_ptr<const StepBatch>>> submitted_;
};

// The greedy answer to `prompt`.
std::vector<std::int32_t> expected_answer(std::vector<std::int32_t> prompt, std::int32_t num_tokens,
                                          std::int64_t vocabulary_size);

}  // namespace tandem
