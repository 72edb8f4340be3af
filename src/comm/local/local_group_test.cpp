#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "comm/communicator.h"
#include "device/device.h"

namespace tandem {
namespace {

constexpr ReduceAlgorithm kAlgorithms[] = {ReduceAlgorithm::kAuto, ReduceAlgorithm::kOneShot,
                                           ReduceAlgorithm::kTwoShot, ReduceAlgorithm::kRing};

LocalGroupOptions options_for(int size, ReduceAlgorithm algorithm = ReduceAlgorithm::kAuto) {
  LocalGroupOptions options;
  options.size = size;
  options.max_bytes = 16 << 20;
  options.deadline_us = 60'000'000;
  options.algorithm = algorithm;
  return options;
}

using Rank = std::function<void(Communicator&, Stream&)>;

// Runs `body` as every rank of a group, each on its own thread.
void run_ranks(const LocalGroupOptions& options, const Rank& body) {
  auto seats = create_local_group(options);
  std::vector<std::thread> threads;
  for (auto& seat : seats) {
    threads.emplace_back([&body, &seat] {
      const auto stream = create_null_device("null", 0)->create_stream();
      body(*seat, *stream);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// What rank `rank` contributes, the same in every run.
std::vector<float> contribution(int rank, std::int64_t count) {
  std::mt19937 generator(static_cast<unsigned>(rank + 1));
  std::uniform_real_distribution<float> distribution(-1, 1);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = distribution(generator);
  return values;
}

// The bits that every rank ends with: one vector per rank. Rows are `gap` floats further apart than
// long, and the gap must not change.
std::vector<std::vector<float>> all_reduce(const LocalGroupOptions& options, std::int64_t rows,
                                           std::int64_t columns, std::int64_t gap = 0) {
  std::vector<std::vector<float>> results(static_cast<std::size_t>(options.size));
  run_ranks(options, [&](Communicator& comm, Stream& stream) {
    const std::vector<float> own = contribution(comm.rank(), rows * columns);
    // Ranks need not have the same stride.
    const std::int64_t stride = columns + gap * comm.rank();
    std::vector<float> memory(static_cast<std::size_t>(rows * stride), 99.0f);
    const MatrixView x{memory.data(), rows, columns, stride};
    for (std::int64_t row = 0; row < rows; ++row) {
      std::copy_n(own.data() + row * columns, columns, x.row(row));
    }
    const Status status = comm.all_reduce_sum(stream, x);
    EXPECT_TRUE(status.ok()) << status.error().to_string();
    auto& result = results[static_cast<std::size_t>(comm.rank())];
    for (std::int64_t row = 0; row < rows; ++row) {
      result.insert(result.end(), x.row(row), x.row(row) + columns);
      for (std::int64_t j = columns; j < stride; ++j) EXPECT_EQ(x.row(row)[j], 99.0f);
    }
  });
  return results;
}

TEST(LocalGroup, SumsOfEverySizeAndAlgorithmAreRightAndTheSameEverywhere) {
  for (int size = 1; size <= 8; ++size) {
    for (const ReduceAlgorithm algorithm : kAlgorithms) {
      for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{0, 7},
                                          {7, 0},
                                          {1, 1},
                                          {1, 3},
                                          {3, 17},
                                          {1, 2048},
                                          {33, 129},
                                          {5, 40'001}}) {
        const auto results = all_reduce(options_for(size, algorithm), rows, columns, 3);
        for (const auto& result : results) ASSERT_EQ(result, results[0]);
        std::vector<double> expected(results[0].size()), sizes(expected.size());
        for (int rank = 0; rank < size; ++rank) {
          const auto values = contribution(rank, rows * columns);
          for (std::size_t i = 0; i < values.size(); ++i) {
            expected[i] += static_cast<double>(values[i]);
            sizes[i] += std::fabs(static_cast<double>(values[i]));
          }
        }
        for (std::size_t i = 0; i < expected.size(); ++i) {
          // size - 1 additions, each off by at most half a unit of what has been added up
          ASSERT_NEAR(expected[i], static_cast<double>(results[0][i]),
                      (size - 1) * sizes[i] / (1 << 24));
        }
      }
    }
  }
}

TEST(LocalGroup, OneShotAndTwoShotGiveTheSameBitsInTheOrderOfRanks) {
  for (int size = 2; size <= 8; ++size) {
    const auto one_shot = all_reduce(options_for(size, ReduceAlgorithm::kOneShot), 7, 1001);
    const auto two_shot = all_reduce(options_for(size, ReduceAlgorithm::kTwoShot), 7, 1001);
    EXPECT_EQ(one_shot, two_shot);
    std::vector<float> in_order = contribution(0, 7007);
    for (int rank = 1; rank < size; ++rank) {
      const auto next = contribution(rank, 7007);
      for (std::size_t i = 0; i < next.size(); ++i) in_order[i] += next[i];
    }
    EXPECT_EQ(one_shot[0], in_order);
  }
}

// A token's sum is the same bits alone and among many, whatever the size makes kAuto choose.
TEST(LocalGroup, AutomaticChoiceDoesNotChangeARowsBits) {
  for (const int size : {2, 3, 5}) {
    const std::int64_t columns = 1024;
    const auto many = all_reduce(options_for(size), 600, columns);
    const auto one = all_reduce(options_for(size), 1, columns);
    EXPECT_TRUE(std::equal(one[0].begin(), one[0].end(), many[0].begin()));
  }
}

TEST(LocalGroup, RepeatsGiveTheSameBits) {
  for (const ReduceAlgorithm algorithm : kAlgorithms) {
    const auto first = all_reduce(options_for(5, algorithm), 3, 5000);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(all_reduce(options_for(5, algorithm), 3, 5000), first);
  }
}

TEST(LocalGroup, GathersUnevenAndEmptyShares) {
  for (int size = 1; size <= 8; ++size) {
    std::vector<std::int64_t> offsets = {0};
    for (int rank = 0; rank < size; ++rank) {
      offsets.push_back(offsets.back() + (rank % 3 == 1 ? 0 : 5 * rank + 1));
    }
    const std::int64_t columns = offsets.back();
    run_ranks(options_for(size), [&](Communicator& comm, Stream& stream) {
      for (int round = 0; round < 20; ++round) {
        std::vector<float> x(static_cast<std::size_t>(9 * columns), -1.0f);
        const auto at = static_cast<std::size_t>(comm.rank());
        for (std::int64_t row = 0; row < 9; ++row) {
          for (std::int64_t j = offsets[at]; j < offsets[at + 1]; ++j) {
            x[static_cast<std::size_t>(row * columns + j)] =
                static_cast<float>(round * 1000 + row * columns + j);
          }
        }
        ASSERT_TRUE(comm.all_gather_columns(stream, dense(x.data(), 9, columns), offsets).ok());
        for (std::size_t i = 0; i < x.size(); ++i) {
          ASSERT_EQ(x[i], static_cast<float>(round * 1000) + static_cast<float>(i));
        }
        // What was sent is the sender's again.
        std::fill(x.begin(), x.end(), 1e9f);
      }
    });
  }
}

TEST(LocalGroup, BarrierHoldsUntilAllAreThere) {
  std::atomic<int> arrived{0};
  run_ranks(options_for(4), [&](Communicator& comm, Stream&) {
    for (int round = 1; round <= 200; ++round) {
      if (comm.rank() == round % 4) std::this_thread::sleep_for(std::chrono::microseconds(50));
      ++arrived;
      ASSERT_TRUE(comm.barrier().ok());
      ASSERT_GE(arrived.load(), 4 * round);
      ASSERT_TRUE(comm.barrier().ok());
    }
  });
}

// Mixed collectives in quick succession: a rank that runs ahead must not overwrite what others
// read.
void stress(const LocalGroupOptions& options, int rounds) {
  const int size = options.size;
  run_ranks(options, [&](Communicator& comm, Stream& stream) {
    std::vector<float> x(256);
    std::vector<std::int64_t> offsets;
    for (int i = 0; i <= size; ++i) offsets.push_back(256 * i / size);
    for (int round = 0; round < rounds; ++round) {
      const auto value = static_cast<float>(round % 1000 + comm.rank());
      std::fill(x.begin(), x.end(), value);
      ASSERT_TRUE(comm.all_reduce_sum(stream, dense(x.data(), 2, 128)).ok());
      const float sum = static_cast<float>(size * (round % 1000) + size * (size - 1) / 2);
      ASSERT_EQ(x[0], sum);
      ASSERT_EQ(x[255], sum);
      if (round % 7 == 0) {
        ASSERT_TRUE(comm.all_gather_columns(stream, dense(x.data(), 1, 256), offsets).ok());
      }
      if (round % 11 == 0) {
        ASSERT_TRUE(comm.barrier().ok());
      }
    }
  });
}

TEST(LocalGroup, TenThousandReductionsOfTwoRanks) {
  for (const ReduceAlgorithm algorithm : kAlgorithms) stress(options_for(2, algorithm), 10'000);
}
TEST(LocalGroup, HundredsOfReductionsOfMoreRanksThanCores) {
  for (const ReduceAlgorithm algorithm : kAlgorithms) stress(options_for(8, algorithm), 200);
}
TEST(LocalGroup, ReductionsOfRanksThatSleepAtOnce) {
  LocalGroupOptions options = options_for(3);
  options.spin_us = 0;
  stress(options, 1000);
}

TEST(LocalGroup, ALateRankIsWaitedFor) {
  run_ranks(options_for(3), [](Communicator& comm, Stream& stream) {
    float x = 1;
    if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(60));
    ASSERT_TRUE(comm.all_reduce_sum(stream, dense(&x, 1, 1)).ok());
    EXPECT_EQ(x, 3.0f);
    EXPECT_EQ(comm.stats().num_reductions, 1);
    if (comm.rank() != 1) {
      EXPECT_GE(comm.stats().wait_seconds, 0.04);
    }
    EXPECT_GT(comm.stats().move_seconds, 0.0);
    EXPECT_EQ(comm.stats().sent_bytes, 2 * 4);
  });
}

TEST(LocalGroup, ARankThatNeverComesIsADeadlineForAll) {
  LocalGroupOptions options = options_for(3);
  options.deadline_us = 50'000;
  for (const ReduceAlgorithm algorithm : kAlgorithms) {
    options.algorithm = algorithm;
    std::atomic<int> failed{0};
    run_ranks(options, [&](Communicator& comm, Stream& stream) {
      float x[4] = {};
      if (comm.rank() == 2) {
        while (failed < 2) std::this_thread::yield();
        EXPECT_EQ(comm.barrier().error().code, ErrorCode::kDeadline) << "the group is unusable";
        return;
      }
      const Status status = comm.all_reduce_sum(stream, dense(x, 1, 4));
      ASSERT_FALSE(status.ok());
      EXPECT_EQ(status.error().code, ErrorCode::kDeadline);
      EXPECT_NE(status.error().to_string().find("rank 2"), std::string::npos);
      EXPECT_EQ(comm.all_reduce_sum(stream, dense(x, 1, 4)).error().code, ErrorCode::kDeadline);
      ++failed;
    });
  }
}

// Ranks reduce for ever; at some moment, a different one each time, one is aborted or leaves.
TEST(LocalGroup, AbortAndLeavingEndEveryWaitInEveryPhase) {
  std::mt19937 generator(3);
  for (int round = 0; round < 60; ++round) {
    LocalGroupOptions options = options_for(2 + round % 4, kAlgorithms[round % 4]);
    if (round % 3 == 0) options.spin_us = 0;
    auto seats = create_local_group(options);
    const bool leaves = round % 2 == 0;
    std::atomic<bool> leave{false};
    std::vector<std::thread> threads;
    for (auto& seat : seats) {
      threads.emplace_back([&, &own = seat] {
        const auto stream = create_null_device("null", 0)->create_stream();
        std::vector<float> x(3000);
        for (;;) {
          if (leave && own->rank() == 0) {
            own.reset();
            return;
          }
          const Status status = own->all_reduce_sum(*stream, dense(x.data(), 3, 1000));
          if (status.ok()) continue;
          EXPECT_EQ(status.error().code, ErrorCode::kPeerLost);
          if (!leaves) {
            EXPECT_EQ(status.error().what, "device on fire");
          }
          return;
        }
      });
    }
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution<int>(0, 3000)(generator)));
    const std::int64_t begin_us = monotonic_us();
    if (leaves) {
      leave = true;
    } else {
      seats.back()->abort(Error{ErrorCode::kDeviceFailed, "device on fire", {}, {}, {}});
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LT(monotonic_us() - begin_us, 5'000'000);
  }
}

TEST(LocalGroup, AStreamThatFailedIsReportedToThePeers) {
  auto device = std::move(create_cpu_device("cpu", {})).value();
  run_ranks(options_for(2), [&](Communicator& comm, Stream& sound) {
    float x[32] = {};
    const auto broken = device->create_stream();
    if (comm.rank() == 0) {
      const std::int32_t id = 5;
      broken->embed(ElementType::kF32, {}, {&id, 1}, 1.0f, dense(x, 1, 32));
      EXPECT_EQ(comm.all_reduce_sum(*broken, dense(x, 1, 32)).error().code,
                ErrorCode::kInvalidArgument);
    } else {
      EXPECT_EQ(comm.all_reduce_sum(sound, dense(x, 1, 32)).error().code, ErrorCode::kPeerLost);
    }
  });
}

TEST(LocalGroup, InjectedDelayMakesMessagesLateAndCountsAsWaiting) {
  LocalGroupOptions options = options_for(2, ReduceAlgorithm::kOneShot);
  options.injected_delay_us = 300;
  run_ranks(options, [](Communicator& comm, Stream& stream) {
    float x[8] = {};
    const std::int64_t begin_us = monotonic_us();
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(comm.all_reduce_sum(stream, dense(x, 1, 8)).ok());
    EXPECT_GE(monotonic_us() - begin_us, 20 * 300);
    EXPECT_GE(comm.stats().wait_seconds, 20 * 300e-6);
    comm.reset_stats();
    EXPECT_EQ(comm.stats().wait_seconds, 0);
    EXPECT_EQ(comm.stats().num_reductions, 0);
  });
}

}  // namespace
}  // namespace tandem
