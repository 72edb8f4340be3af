// What LlmEngine does when a step or its runner fails.

#include <set>
#include <utility>

#include "base/log.h"
#include "engine/answer.h"
#include "engine/llm_engine.h"

namespace tandem {

// The requests that the step held get the error; the rest goes on.
void LlmEngine::fail_flight(const Flight& flight, const Error& error) {
  spdlog::error("a step failed: {}", error.to_string());
  std::set<Generation*> held;
  for (const ScheduledSequence& scheduled : flight.step.sequences) {
    scheduled.sequence->in_flight = false;
    held.insert(answers_.at(scheduled.sequence->arrival)->generation.get());
  }
  std::vector<Answer*> lost;
  for (const auto& [arrival, answer] : answers_) {
    if (held.contains(answer->generation.get())) lost.push_back(answer.get());
  }
  for (Answer* answer : lost) {
    const std::shared_ptr<Generation> generation = answer->generation;
    if (!generation->is_over) {
      generation->is_over = true;
      ++counters_.requests_failed;
      generation->sink(ErrorEvent{error});
    }
    drop(*answer);
  }
}

// What was in flight is lost, and with the ranks' memory all that was computed. A new runner starts
// with the sequences that were not in flight; where there is none, everything fails.
void LlmEngine::fail_runner(const Error& error) {
  for (const Flight& flight : std::exchange(flights_, {})) fail_flight(flight, error);
  runner_.reset();
  scheduler_.start_over();
  if (!options_.rebuild_runner) return fail_all(error);
  auto rebuilt = options_.rebuild_runner();
  if (!rebuilt.ok()) return fail_all(rebuilt.error());
  runner_ = std::move(*rebuilt);
  spdlog::warn("the ranks were rebuilt after: {}", error.to_string());
}

void LlmEngine::fail_all(const Error& error) {
  failure_ = error;
  while (!answers_.empty()) {
    Answer& answer = *answers_.begin()->second;
    const std::shared_ptr<Generation> generation = answer.generation;
    if (!generation->is_over) {
      generation->is_over = true;
      ++counters_.requests_failed;
      generation->sink(ErrorEvent{error});
    }
    drop(answer);
  }
}

EngineStats LlmEngine::stats() const {
  EngineStats stats;
  stats.counters = counters_;
  for (const auto& [arrival, answer] : answers_) {
    if (answer->is_doomed) continue;
    AnswerState state;
    state.request = answer->generation->id;
    state.choice = answer->choice;
    state.is_running = !answer->sequence.blocks.empty();
    state.prompt_tokens = answer->usage.prompt_tokens;
    state.computed_tokens = answer->sequence.num_computed;
    state.generated_tokens = answer->usage.completion_tokens;
    state.max_tokens = answer->max_tokens;
    ++(state.is_running ? stats.running : stats.waiting);
    stats.answers.push_back(state);
  }
  stats.preemptions = scheduler_.num_preemptions();
  stats.blocks_total = scheduler_.blocks().num_blocks();
  stats.blocks_owned = scheduler_.blocks().num_owned();
  stats.blocks_cached = scheduler_.blocks().num_cached();
  stats.block_tokens = scheduler_.options().block_tokens;
  stats.max_sequences = scheduler_.options().max_sequences;
  stats.max_context_tokens = max_context_tokens_;
  if (failure_) stats.failure = failure_->to_string();
  return stats;
}

void LlmEngine::measure_ranks(EngineStats& stats) const {
  const auto* runtime = dynamic_cast<const Runtime*>(runner_.get());
  if (runtime == nullptr) return;
  stats.ranks = runtime->times();
  stats.memory = runtime->memory();
}

}  // namespace tandem
