#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "base/result.h"
#include "base/waitable_counter.h"
#include "nn/step_batch.h"
#include "nn/token_candidates.h"

namespace tandem {

// One submitted step: its micro-batches share a result.
struct PendingStep {
  // [num_output_rows, vocabulary]; each last-stage rank writes its own. Empty where candidates are
  // for all rows.
  std::vector<float> logits;
  TokenCandidates candidates;
  std::int64_t num_rows = 0;  // of output
  std::vector<float> hidden;  // [num_hidden_rows, hidden]; the last stage's first rank writes it
  std::atomic<std::int32_t> num_open{0};  // (rank, micro-batch) pairs not yet done
  WaitableCounter done;                   // 1: finished; interrupted: the runtime failed
};

// What one rank executes next.
struct MicroStep {
  std::shared_ptr<const StepBatch> batch;
  std::int64_t first_output_row = 0;  // of this micro-batch in the step's logits
  std::shared_ptr<PendingStep> step;
  std::int64_t first_hidden_row = 0;  // of this micro-batch in the step's hidden states
};

// The steps that all ranks execute in the same order. Every rank takes every micro-step once; the
// last to finish one forgets it. Thread-safe.
class StepQueue {
 public:
  explicit StepQueue(std::int32_t num_ranks) : num_ranks_(num_ranks) {}

  void push(MicroStep step);
  // The micro-step `index` (0, 1, ...). Blocks until it is there; nullopt once stop() was called,
  // or when it is not there but `or_when` holds, which is asked again after each notify().
  // idle_ns is raised by the time blocked.
  std::optional<MicroStep> take(std::uint64_t index, std::int64_t& idle_ns,
                                const std::function<bool()>& or_when = {});
  // Something changed for those who wait with `or_when`.
  void notify();
  bool is_stopped() const { return num_events_.interrupted(); }
  // This rank has done micro-step `index`; completes its step if it was the last.
  void finish(std::uint64_t index);
  // Ends all waits, present and future.
  void stop();

 private:
  struct Entry {
    MicroStep step;
    std::int32_t num_open = 0;
  };

  const std::int32_t num_ranks_;
  WaitableCounter num_events_;  // steps pushed, and notifications
  std::mutex mutex_;
  std::atomic<std::uint64_t> next_{0};  // raised under the mutex
  std::map<std::uint64_t, Entry> entries_;
};

}  // namespace tandem
