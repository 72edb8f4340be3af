#include "device/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <chrono>
#include <thread>
#include <vector>

#include "base/cores.h"

namespace tandem {
namespace {

// Cores of this process, each as often as needed: more threads than cores must work too.
std::vector<int> some_cores(int count) {
  std::vector<int> cores;
  for (int i = 0; i < count; ++i) {
    cores.push_back(allowed_cores()[static_cast<std::size_t>(i) % allowed_cores().size()]);
  }
  return cores;
}

double process_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

TEST(ThreadPool, EveryIndexRunsOnceOnItsOwnThread) {
  for (const int size : {1, 2, 3, 7}) {
    ThreadPool pool(some_cores(size));
    ASSERT_EQ(pool.size(), size);
    std::vector<int> calls(static_cast<std::size_t>(size));
    std::vector<std::thread::id> ids(static_cast<std::size_t>(size));
    for (int round = 0; round < 50; ++round) {
      pool.parallel([&](int i) {
        ++calls[static_cast<std::size_t>(i)];
        ids[static_cast<std::size_t>(i)] = std::this_thread::get_id();
      });
    }
    EXPECT_EQ(calls, std::vector<int>(static_cast<std::size_t>(size), 50));
    EXPECT_EQ(ids[0], std::this_thread::get_id());
    for (std::size_t i = 1; i < ids.size(); ++i) EXPECT_NE(ids[i], ids[i - 1]);
  }
}

TEST(ThreadPool, ManyShortJobsLoseNoWakeUp) {
  ThreadPool pool(some_cores(3), false);
  std::vector<std::int64_t> sums(3);
  for (int round = 0; round < 10'000; ++round) {
    pool.parallel([&](int i) { sums[static_cast<std::size_t>(i)] += round; });
    // Now and then just long enough for the workers to be falling asleep.
    if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  EXPECT_EQ(sums, std::vector<std::int64_t>(3, 10'000LL * 9'999 / 2));
}

TEST(ThreadPool, WorkersArePinnedAndTheCallerOnlyWhenBound) {
  const std::vector<int> cores = some_cores(static_cast<int>(allowed_cores().size()));
  std::thread rank([&] {
    ThreadPool pool(cores);
    cpu_set_t before;
    sched_getaffinity(0, sizeof(before), &before);
    EXPECT_EQ(CPU_COUNT(&before), static_cast<int>(allowed_cores().size()));
    pool.bind_caller();
    std::vector<int> seen(cores.size(), -1);
    pool.parallel([&](int i) {
      cpu_set_t set;
      sched_getaffinity(0, sizeof(set), &set);
      if (CPU_COUNT(&set) == 1) seen[static_cast<std::size_t>(i)] = sched_getcpu();
    });
    EXPECT_EQ(seen, cores);
  });
  rank.join();
}

TEST(ThreadPool, IdleThreadsUseNoProcessorTime) {
  ThreadPool pool(some_cores(4), false);
  pool.parallel([](int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = process_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(process_seconds() - before, 0.03);
}

// Two pools that wait for each other's turn on the same cores, as two ranks on one core do.
TEST(ThreadPool, PoolsThatShareCoresDoNotStarveEachOther) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([] {
      ThreadPool pool(some_cores(3));
      pool.bind_caller();
      for (int round = 0; round < 500; ++round) pool.parallel([](int) {});
    });
  }
  for (std::thread& rank : ranks) rank.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace tandem
