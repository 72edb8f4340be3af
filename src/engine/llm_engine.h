#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/draft_model.h"
#include "engine/engine_stats.h"
#include "engine/generation.h"
#include "engine/scheduler.h"
#include "engine/step_trace.h"
#include "runtime/runtime.h"

namespace tandem {

class Tokenizer;
struct Answer;

struct EngineOptions {
  std::int32_t max_queued = 256;  // requests that may wait for their first step
  bool prefix_cache = true;
  double max_decode_slowdown = 1.65;        // of running answers while a prompt comes in
  std::int32_t draft_tokens = 0;            // guessed per step; 0: no speculation
  std::shared_ptr<DraftModel> draft_model;  // guesses them; null: prompt lookup does
  std::shared_ptr<TraceWriter> trace;       // may be null
  SamplerFactory make_sampler;              // empty: greedy
  // Makes a new runner after the old one failed and was destroyed. Empty: the engine has failed.
  // Called on a thread of its own, for which rebuild_deadline_ms are waited.
  std::function<Result<std::unique_ptr<ModelRunner>>()> rebuild_runner;
  std::int64_t rebuild_deadline_ms = 600'000;
  // Told once, on the engine's thread, where that was in vain: nothing can be run any more.
  std::function<void(const Error& loss)> on_lost;
  // What a failed runner may take to end. One with a rank that hangs does not: it is left behind,
  // with its threads and its memory.
  std::int64_t abandon_runner_after_ms = 3'000;
};

// The whole system in three calls: schedule, submit and wait, commit. Used by one thread; Engine
// gives it one.
class LlmEngine {
 public:
  // tokenizer: may be null, then texts are empty and nothing but length ends an answer.
  LlmEngine(std::unique_ptr<ModelRunner> runner, std::shared_ptr<const Tokenizer> tokenizer,
            EngineOptions options);
  ~LlmEngine();

  static constexpr std::int32_t kMaxChoices = 128;

  // Why such a request can never run: kInvalidArgument.
  Status check(const GenerationRequest& request) const;
  // Queues a request that check() finds good. Its events go to `sink`.
  void add(RequestId id, GenerationRequest request, EventSink sink);
  // Ends a request's answers with FinishReason::kCancelled; what is in flight for it is dropped
  // when its step is done. No effect on requests that are not there.
  void cancel(RequestId id);
  void cancel_all();

  // Fills the pipeline, waits for the oldest step and commits it. False: there is nothing to do.
  bool step();

  EngineStats stats() const;
  // Adds what the ranks measured of themselves, where the runner does that.
  void measure_ranks(EngineStats& stats) const;
  // Empty, or how blocks and sequences contradict each other. For tests.
  std::string find_fault() const { return scheduler_.find_fault(); }

 private:
  struct Flight {
    std::int64_t number = 0;
    std::int64_t submitted_us = 0;
    ScheduledStep step;
  };
  using Answers = std::map<std::uint64_t, std::unique_ptr<Answer>>;

  void submit(ScheduledStep step);
  void commit(const Flight& flight, StepResult& result);
  void take_hidden(Answer& answer, const ScheduledSequence& scheduled, const StepResult& result);
  void take_tokens(Answer& answer, const ScheduledSequence& scheduled, StepResult& result);
  static SampledToken sample(Answer& answer, std::span<float> logits);
  bool take_token(Answer& answer, SampledToken sampled);
  void propose_drafts(Answer& answer);
  void propose_by_model();
  void start_followers(const Answer& answer);
  void finish(Answer& answer, FinishReason reason);
  void drop(Answer& answer);
  void fail_flight(const Flight& flight, const Error& error);
  void fail_runner(const Error& error);
  void drop_runner();
  void fail_all(const Error& error);

  std::unique_ptr<ModelRunner> runner_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  EngineOptions options_;
  std::int32_t max_context_tokens_;
  std::int64_t vocabulary_size_;
  std::int32_t max_in_flight_;
  Scheduler scheduler_;
  Answers answers_;  // by Sequence::arrival
  std::uint64_t next_arrival_ = 1;
  std::deque<Flight> flights_;
  std::vector<std::uint64_t> undrafted_;  // arrivals that wait for the draft model's guesses
  StepTrace trace_;
  std::optional<Error> failure_;
  EngineCounters counters_;
};

}  // namespace tandem
