#include "base/waitable_counter.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>

#include "base/clock.h"

namespace tandem {
namespace {

// Between two looks at the clock: about a microsecond of pauses.
constexpr int kPausesPerLook = 32;

bool is_reached(std::uint32_t value, std::uint32_t target) {
  return static_cast<std::int32_t>((value & ~1u) - (target << 1)) >= 0;
}

void pause() {
  __builtin_ia32_pause();
}

}  // namespace

bool WaitableCounter::has_reached(std::uint32_t target) const {
  return is_reached(value_.load(std::memory_order_acquire), target);
}

void WaitableCounter::advance() {
  value_.fetch_add(2);
  wake_sleepers();
}

void WaitableCounter::interrupt() {
  value_.fetch_or(1);
  wake_sleepers();
}

void WaitableCounter::wake_sleepers() {
  if (num_sleepers_.load() == 0) return;
  syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void WaitableCounter::sleep(std::uint32_t seen, std::int64_t timeout_us) {
  const timespec timeout{timeout_us / 1'000'000, (timeout_us % 1'000'000) * 1000};
  num_sleepers_.fetch_add(1);
  // The kernel compares with `seen` under its lock: a change since then does not sleep.
  syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, seen, &timeout, nullptr, 0);
  num_sleepers_.fetch_sub(1);
}

WaitableCounter::Outcome WaitableCounter::wait_for(std::uint32_t target, const WaitLimits& limits) {
  std::int64_t begin_us = -1;
  for (;;) {
    // Reached counts before interrupted: who has its answer does not care who left since.
    std::uint32_t value = value_.load(std::memory_order_acquire);
    if (is_reached(value, target)) return Outcome::kReached;
    if ((value & 1u) != 0) return Outcome::kInterrupted;
    const std::int64_t now = monotonic_us();
    if (begin_us < 0) begin_us = now;
    const std::int64_t waited_us = now - begin_us;
    if (waited_us >= limits.deadline_us) return Outcome::kDeadline;
    if (waited_us < limits.pause_us) {
      for (int i = 0; i < kPausesPerLook && value_.load(std::memory_order_acquire) == value; ++i) {
        pause();
      }
    } else if (waited_us < limits.spin_us) {
      sched_yield();
    } else {
      sleep(value, limits.deadline_us - waited_us);
    }
  }
}

}  // namespace tandem
