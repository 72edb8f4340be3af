#include "runtime/step_queue.h"

#include "base/check.h"
#include "base/clock.h"

namespace tandem {
namespace {

// Between two decode steps lie some tens of microseconds of sampling and scheduling: a rank spins
// over them, offering its core to the thread that does that, and sleeps when nothing comes.
constexpr WaitLimits kIdleLimits{.pause_us = 5, .spin_us = 300, .deadline_us = 3'600'000'000};

}  // namespace

void StepQueue::push(MicroStep step) {
  {
    const std::lock_guard lock(mutex_);
    entries_.emplace(next_.load(), Entry{std::move(step), num_ranks_});
    next_.fetch_add(1);
  }
  num_events_.advance();
}

void StepQueue::notify() {
  num_events_.advance();
}

std::optional<MicroStep> StepQueue::take(std::uint64_t index, std::int64_t& idle_ns,
                                         const std::function<bool()>& or_when) {
  const std::int64_t began = monotonic_ns();
  while (!num_events_.interrupted()) {
    // Read before looking: what happens after the look ends the wait.
    const std::uint32_t seen = num_events_.count();
    if (next_.load() > index) break;
    if (or_when && or_when()) {
      idle_ns += monotonic_ns() - began;
      return std::nullopt;
    }
    num_events_.wait_for((seen + 1) & 0x7fffffffu, kIdleLimits);
  }
  idle_ns += monotonic_ns() - began;
  if (num_events_.interrupted()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(index);
  TANDEM_CHECK(found != entries_.end(), "a micro-step that was taken twice");
  return found->second.step;
}

void StepQueue::finish(std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(index);
  TANDEM_CHECK(found != entries_.end(), "a micro-step that was finished twice");
  PendingStep& step = *found->second.step.step;
  if (step.num_open.fetch_sub(1) == 1) step.done.advance();
  if (--found->second.num_open == 0) entries_.erase(found);
}

void StepQueue::stop() {
  num_events_.interrupt();
}

}  // namespace tandem
