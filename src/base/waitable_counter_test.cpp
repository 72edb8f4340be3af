#include "base/waitable_counter.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <thread>
#include <vector>

#include "base/clock.h"

namespace tandem {
namespace {

using Outcome = WaitableCounter::Outcome;

TEST(WaitableCounter, CountsReachedTargetsAcrossWrap) {
  WaitableCounter counter;
  EXPECT_TRUE(counter.has_reached(0));
  EXPECT_FALSE(counter.has_reached(1));
  counter.advance();
  EXPECT_EQ(counter.count(), 1u);
  EXPECT_TRUE(counter.has_reached(1));
  // 2^31 - 1 is "one before zero": long reached.
  EXPECT_TRUE(counter.has_reached((1u << 31) - 1));
  EXPECT_FALSE(counter.has_reached(2));
}

TEST(WaitableCounter, DeadlinePassesSpinningAndSleeping) {
  WaitableCounter counter;
  for (const std::int64_t spin_us : {0, 100, 100'000}) {
    const std::int64_t begin = monotonic_us();
    EXPECT_EQ(counter.wait_for(1, {.pause_us = 10, .spin_us = spin_us, .deadline_us = 20'000}),
              Outcome::kDeadline);
    EXPECT_GE(monotonic_us() - begin, 20'000);
  }
}

TEST(WaitableCounter, InterruptEndsPresentAndFutureWaitsButNotReachedOnes) {
  WaitableCounter counter;
  std::vector<Outcome> outcomes(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    threads.emplace_back([&, i] {
      const std::int64_t spin_us = i % 2 == 0 ? 0 : 1'000'000;
      outcomes[i] = counter.wait_for(2, {.spin_us = spin_us});
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  counter.advance();
  counter.interrupt();
  for (std::thread& thread : threads) thread.join();
  for (const Outcome outcome : outcomes) EXPECT_EQ(outcome, Outcome::kInterrupted);
  EXPECT_TRUE(counter.interrupted());
  EXPECT_EQ(counter.wait_for(1, {}), Outcome::kReached);
  EXPECT_EQ(counter.wait_for(2, {}), Outcome::kInterrupted);
}

TEST(WaitableCounter, SleepingCostsNoProcessorTime) {
  WaitableCounter counter;
  double used_seconds = 1;
  std::thread sleeper([&] {
    counter.wait_for(1, {.pause_us = 10, .spin_us = 100, .deadline_us = 200'000});
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    used_seconds = static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  });
  sleeper.join();
  EXPECT_LT(used_seconds, 0.02);
}

// Two threads hand a plain number back and forth: every hand-over must be seen (or this hangs until
// the deadline) and must publish the number (or the sanitizer says so). Beside other programs a
// hand-over can cost a time slice, so that enough time ends it as well.
void play(std::int64_t pause_us, std::int64_t spin_us) {
  constexpr std::uint32_t kRounds = 20'000;
  constexpr std::int64_t kEnoughUs = 2'000'000;
  WaitableCounter ping;
  WaitableCounter pong;
  std::uint32_t number = 0;
  const WaitLimits limits{.pause_us = pause_us, .spin_us = spin_us, .deadline_us = 20'000'000};
  std::thread other([&] {
    for (std::uint32_t round = 1;; ++round) {
      const Outcome outcome = ping.wait_for(round, limits);
      if (outcome == Outcome::kInterrupted) return;
      ASSERT_EQ(outcome, Outcome::kReached);
      ++number;
      pong.advance();
    }
  });
  const std::int64_t begin = monotonic_us();
  for (std::uint32_t round = 1; round <= kRounds && monotonic_us() - begin < kEnoughUs; ++round) {
    ++number;
    ping.advance();
    EXPECT_EQ(pong.wait_for(round, limits), Outcome::kReached);
    EXPECT_EQ(number, 2 * round);
    if (testing::Test::HasFailure()) break;
  }
  ping.interrupt();
  other.join();
}

TEST(WaitableCounter, PingPongSpinning) {
  play(50, 2000);
}
TEST(WaitableCounter, PingPongYielding) {
  play(0, 2000);
}
TEST(WaitableCounter, PingPongSleeping) {
  play(0, 0);
}
TEST(WaitableCounter, PingPongOnTheEdgeOfSleep) {
  play(0, 1);
}

}  // namespace
}  // namespace tandem
