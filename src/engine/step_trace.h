#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/trace.h"
#include "engine/scheduler.h"

namespace tandem {

// The engine's part of a trace: its steps, and the time between them. Does nothing without a
// writer.
class StepTrace {
 public:
  explicit StepTrace(std::shared_ptr<TraceWriter> writer) : writer_(std::move(writer)) {}

  // A step from its submission to its results. num_in_flight: steps that may overlap.
  void add_step(std::int64_t number, std::int32_t num_in_flight, const ScheduledStep& step,
                std::int64_t submitted_us, std::int64_t done_us);
  // What the engine did with the results: sampling, text, accounts.
  void add_commit(std::int64_t begin_us, std::int64_t end_us);

 private:
  std::shared_ptr<TraceWriter> writer_;
  std::vector<std::int32_t> step_tracks_;  // steps that overlap lie under each other
  std::int32_t commit_track_ = 0;          // 0: not made yet
};

}  // namespace tandem
