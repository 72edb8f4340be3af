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
    entries_.emplace(next_++, Entry{std::move(step), num_ranks_});
  }
  num_pushed_.advance();
}

std::optional<MicroStep> StepQueue::take(std::uint64_t index, std::int64_t& idle_ns) {
  const auto target = static_cast<std::uint32_t>((index + 1) & 0x7fffffffu);
  const std::int64_t began = monotonic_ns();
  auto outcome = WaitableCounter::Outcome::kDeadline;
  while (outcome == WaitableCounter::Outcome::kDeadline) {
    outcome = num_pushed_.wait_for(target, kIdleLimits);
  }
  idle_ns += monotonic_ns() - began;
  if (num_pushed_.interrupted()) return std::nullopt;
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
  num_pushed_.interrupt();
}

}  // namespace tandem
