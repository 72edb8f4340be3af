#include "runtime/observed_communicator.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/clock.h"

namespace tandem {
namespace {

void work_for(std::int64_t microseconds) {
  const std::int64_t until = monotonic_ns() + 1000 * microseconds;
  while (monotonic_ns() < until) {
  }
}

class ObservedSeat : public testing::Test {
 protected:
  static ObservedCommunicator seat(double slowdown) {
    LocalGroupOptions options;
    options.max_bytes = 1024;
    return {std::move(create_local_group(options).front()), slowdown};
  }

  // Seconds of a step that works for 10 ms and then reduces; the least of five tries, since other
  // programs can only lengthen it.
  double step_seconds(double slowdown) {
    auto observed = seat(slowdown);
    double least = 1e9;
    for (int i = 0; i < 5; ++i) {
      const std::int64_t began = monotonic_ns();
      observed.begin_step();
      work_for(10'000);
      EXPECT_TRUE(observed.all_reduce_sum(*stream_, {}).ok());
      least = std::min(least, 1e-9 * static_cast<double>(monotonic_ns() - began));
    }
    return least;
  }

  std::unique_ptr<Device> device_ = create_null_device("null", 1 << 20);
  std::unique_ptr<Stream> stream_ = device_->create_stream();
};

TEST_F(ObservedSeat, StretchesTheArithmeticBeforeACollective) {
  EXPECT_GE(step_seconds(4.0), 0.050);
}

TEST_F(ObservedSeat, LeavesItAloneWithoutASlowdown) {
  EXPECT_LT(step_seconds(0.0), 0.050);
}

TEST_F(ObservedSeat, StretchesOnlyWhatCameSinceTheLastCollective) {
  auto observed = seat(1.0);
  observed.begin_step();
  work_for(30'000);
  ASSERT_TRUE(observed.all_reduce_sum(*stream_, {}).ok());
  double least = 1e9;
  for (int i = 0; i < 5; ++i) {
    const std::int64_t began = monotonic_ns();
    ASSERT_TRUE(observed.all_reduce_sum(*stream_, {}).ok());
    least = std::min(least, 1e-9 * static_cast<double>(monotonic_ns() - began));
  }
  EXPECT_LT(least, 0.030);
}

TEST_F(ObservedSeat, EveryCollectiveIsASignOfLife) {
  auto observed = seat(0.0);
  EXPECT_EQ(observed.num_signs(), 0u);
  ASSERT_TRUE(observed.all_reduce_sum(*stream_, {}).ok());
  ASSERT_TRUE(observed.all_gather_columns(*stream_, {}, {0, 0}).ok());
  ASSERT_TRUE(observed.barrier().ok());
  EXPECT_EQ(observed.num_signs(), 3u);
  EXPECT_EQ(observed.stats().num_reductions, 1);
}

}  // namespace
}  // namespace tandem
