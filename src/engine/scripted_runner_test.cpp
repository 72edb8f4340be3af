#include "engine/scripted_runner_for_test.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <span>
#include <thread>

#include "base/check.h"

namespace tandem {

std::int32_t scripted_next_token(const std::vector<std::int32_t>& history,
                                 std::int64_t vocabulary_size) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const std::int32_t token : history) {
    hash = (hash ^ static_cast<std::uint64_t>(token + 1)) * 0x100000001b3ULL;
    hash ^= hash >> 29;
  }
  return static_cast<std::int32_t>(hash % static_cast<std::uint64_t>(vocabulary_size));
}

std::vector<float> scripted_hidden(const std::vector<std::int32_t>& history) {
  std::vector<float> hidden;
  for (std::int64_t i = 0; i < kScriptedHiddenSize; ++i) {
    hidden.push_back(static_cast<float>(scripted_next_token(history, 97 + i)) - 40.0f);
  }
  return hidden;
}

std::vector<std::int32_t> expected_answer(std::vector<std::int32_t> prompt, std::int32_t num_tokens,
                                          std::int64_t vocabulary_size) {
  std::vector<std::int32_t> answer;
  for (std::int32_t i = 0; i < num_tokens; ++i) {
    answer.push_back(scripted_next_token(prompt, vocabulary_size));
    prompt.push_back(answer.back());
  }
  return answer;
}

ScriptedRunner::ScriptedRunner(ScriptedRunnerOptions options)
    : options_(std::move(options)),
      cache_(static_cast<std::size_t>(options_.num_blocks * options_.block_tokens), -1) {
  plan_.stages.resize(static_cast<std::size_t>(options_.num_stages));
  plan_.kv.block_tokens = options_.block_tokens;
  plan_.kv.num_blocks = options_.num_blocks;
  plan_.max_sequences = options_.max_sequences;
  plan_.max_batch_tokens = options_.max_batch_tokens;
  plan_.max_output_rows = options_.max_output_rows;
  plan_.context_tokens = options_.context_tokens;
}

Result<std::int64_t> ScriptedRunner::submit(std::shared_ptr<const StepBatch> batch) {
  const std::string fault =
      find_fault(*batch, options_.vocabulary_size, options_.num_blocks, options_.block_tokens);
  TANDEM_CHECK(fault.empty(), fault);
  TANDEM_CHECK(batch->num_tokens() <= options_.max_batch_tokens, "too many tokens");
  TANDEM_CHECK(std::ssize(batch->sequences) <= options_.max_sequences, "too many sequences");
  TANDEM_CHECK(std::ssize(batch->output_rows) <= options_.max_output_rows, "too many rows");
  TANDEM_CHECK(std::ssize(submitted_) < options_.num_stages, "too many steps in flight");
  if (options_.on_submit) options_.on_submit(*batch);
  submitted_.emplace_back(next_number_, std::move(batch));
  return next_number_++;
}

Result<StepResult> ScriptedRunner::wait(std::int64_t number) {
  TANDEM_CHECK(!submitted_.empty() && submitted_.front().first == number, "waited out of order");
  const auto batch = submitted_.front().second;
  submitted_.pop_front();
  if (options_.step_us > 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(options_.step_us));
  }
  if (options_.fail) {
    if (auto error = options_.fail(number)) return *error;
  }
  return compute(*batch);
}

StepResult ScriptedRunner::compute(const StepBatch& batch) {
  for (std::size_t i = 0; i < batch.token_ids.size(); ++i) {
    cache_[static_cast<std::size_t>(batch.slots[i])] = batch.token_ids[i];
  }
  StepResult result;
  result.vocabulary_size = options_.vocabulary_size;
  result.logits.reserve(batch.output_rows.size() *
                        static_cast<std::size_t>(options_.vocabulary_size));
  for (const std::int32_t row : batch.output_rows) {
    const std::vector<std::int32_t> history = history_of(batch, row);
    const std::int32_t next = scripted_next_token(history, options_.vocabulary_size);
    for (std::int32_t token = 0; token < options_.vocabulary_size; ++token) {
      result.logits.push_back(token == next ? 10.0f : -0.01f * static_cast<float>(token));
    }
    if (options_.gives_candidates) pick_candidates(batch, result);
  }
  result.hidden_size = kScriptedHiddenSize;
  for (const std::int32_t row : batch.hidden_rows) {
    const std::vector<float> hidden = scripted_hidden(history_of(batch, row));
    result.hidden.insert(result.hidden.end(), hidden.begin(), hidden.end());
  }
  return result;
}

// In the place of the row just added, which is spoilt: the best of it as the batch changes it, and
// the logarithm of the sum of its exponentials as it was.
void ScriptedRunner::pick_candidates(const StepBatch& batch, StepResult& result) const {
  const std::size_t row = result.candidates.size();
  auto& best = result.candidates.emplace_back();
  if (batch.output_log_sums) result.log_sums.push_back(0);
  const std::int32_t wanted = batch.output_candidates.empty() ? 0 : batch.output_candidates[row];
  if (wanted == 0) return;
  const auto logits =
      std::span(result.logits).last(static_cast<std::size_t>(options_.vocabulary_size));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit));
  if (batch.output_log_sums) result.log_sums.back() = std::log(sum);
  for (const LogitChange& change : batch.logit_changes) {
    if (static_cast<std::size_t>(change.row) != row) continue;
    float& logit = logits[static_cast<std::size_t>(change.column)];
    logit += change.add;
    logit = logit <= 0 ? logit * change.repeat : logit / change.repeat;
    logit -= change.lower;
  }
  for (std::size_t token = 0; token < logits.size(); ++token) {
    best.push_back({static_cast<std::int32_t>(token), logits[token]});
  }
  std::ranges::stable_sort(best, std::greater<>(), &TokenLogit::logit);
  if (std::ssize(best) > wanted) best.resize(static_cast<std::size_t>(wanted));
  std::ranges::fill(logits, 99.0f);
}

// The tokens up to that of `row`, read back from the cache.
std::vector<std::int32_t> ScriptedRunner::history_of(const StepBatch& batch,
                                                     std::int32_t row) const {
  std::size_t owner = 0;
  while (row >= batch.sequences[owner].first_token + batch.sequences[owner].num_tokens) ++owner;
  std::vector<std::int32_t> history;
  for (std::int32_t p = 0; p <= batch.positions[static_cast<std::size_t>(row)]; ++p) {
    const auto entry = static_cast<std::size_t>(p / options_.block_tokens);
    const std::int32_t block = batch.sequences[owner].block_table[entry];
    const std::int32_t slot = block * options_.block_tokens + p % options_.block_tokens;
    history.push_back(cache_[static_cast<std::size_t>(slot)]);
  }
  return history;
}

}  // namespace tandem
