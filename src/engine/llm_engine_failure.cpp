// What LlmEngine does when a step or its runner fails.

#include <chrono>
#include <future>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "base/log.h"
#include "engine/answer.h"
#include "engine/llm_engine.h"

namespace tandem {
namespace {

// Runs `task` on a thread of its own. False: it has not ended in time, and goes on without us.
template <typename Task>
bool ends_within(std::int64_t timeout_ms, Task task) {
  auto done = std::make_shared<std::promise<void>>();
  const auto ended = done->get_future();
  std::thread([done, task = std::move(task)]() mutable {
    task();
    done->set_value();
  }).detach();
  return ended.wait_for(std::chrono::milliseconds(timeout_ms)) == std::future_status::ready;
}

// Why nothing can be run any more: what failed first, which names device and step, is the cause. A
// device that fails its rebuilding is lost to this process, whatever came before.
Error unrebuilt(const Error& cause, const Error& in_vain) {
  Error loss = cause;
  if (in_vain.code == ErrorCode::kDeviceFailed) loss.code = in_vain.code;
  loss.what += "; the ranks cannot be rebuilt: " + in_vain.to_string();
  return loss;
}

}  // namespace

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
  drop_runner();
  scheduler_.start_over();
  if (!options_.rebuild_runner) return fail_all(error);
  const auto rebuilt = std::make_shared<std::optional<Result<std::unique_ptr<ModelRunner>>>>();
  const bool is_over =
      ends_within(options_.rebuild_deadline_ms,
                  [rebuilt, rebuild = options_.rebuild_runner] { rebuilt->emplace(rebuild()); });
  if (!is_over || !(*rebuilt)->ok()) {
    const Error in_vain = is_over
                              ? (*rebuilt)->error()
                              : Error{ErrorCode::kDeadline, "it was not done in time", {}, {}, {}};
    fail_all(unrebuilt(error, in_vain));
    if (options_.on_lost) options_.on_lost(*failure_);
    return;
  }
  runner_ = std::move(***rebuilt);
  spdlog::warn("the ranks were rebuilt after: {}", error.to_string());
}

// A thread cannot be ended from outside: waiting for one that hangs would hang the engine too.
void LlmEngine::drop_runner() {
  const auto runner = std::make_shared<std::unique_ptr<ModelRunner>>(std::move(runner_));
  if (ends_within(options_.abandon_runner_after_ms, [runner] { runner->reset(); })) return;
  spdlog::error("a rank hangs and cannot be ended: it is left behind, with all it holds");
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
