#pragma once

#include <atomic>
#include <cstdint>

namespace tandem {

// How long a wait may cost what: first the thread spins, then it spins but offers its core to
// others, then it sleeps. All times count from the wait's begin.
struct WaitLimits {
  std::int64_t pause_us = 50;   // 0 where threads outnumber cores
  std::int64_t spin_us = 2000;  // pause_us included
  std::int64_t deadline_us = 30'000'000;
};

// A count that threads raise and others wait for; the one thing that threads of Tandem wait on
// where microseconds matter. No wake-up is lost: who sleeps has announced it before looking a last
// time, and who raises looks for sleepers afterwards.
//
// Counts are modulo 2^31; waiter and count may be at most 2^30 apart.
class WaitableCounter {
 public:
  enum class Outcome : std::uint8_t { kReached, kInterrupted, kDeadline };

  std::uint32_t count() const { return value_.load(std::memory_order_acquire) >> 1; }
  bool has_reached(std::uint32_t target) const;
  bool interrupted() const { return (value_.load() & 1u) != 0; }

  // What the thread wrote before it, every thread sees that has seen the new count.
  void advance();
  // Ends every present and future wait whose target has not been reached. Final.
  void interrupt();

  // Blocks until the count is `target` or later.
  Outcome wait_for(std::uint32_t target, const WaitLimits& limits);

 private:
  void wake_sleepers();
  void sleep(std::uint32_t seen, std::int64_t timeout_us);

  // Twice the count, plus one once interrupted: a futex word, so that both can end a sleep.
  std::atomic<std::uint32_t> value_{0};
  std::atomic<std::uint32_t> num_sleepers_{0};
};

}  // namespace tandem
