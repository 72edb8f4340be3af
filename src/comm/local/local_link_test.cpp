#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "comm/communicator.h"
#include "device/device.h"

namespace tandem {
namespace {

std::unique_ptr<Stream> any_stream() {
  return create_null_device("null", 0)->create_stream();
}

LocalLinkOptions options_for(int num_receivers, int num_slots = 2) {
  LocalLinkOptions options;
  options.num_receivers = num_receivers;
  options.num_slots = num_slots;
  options.max_bytes = 1 << 20;
  return options;
}

TEST(LocalLink, KnowsWhetherAMessageWaitsForAReceiver) {
  const auto link = create_local_link(options_for(2));
  const auto stream = any_stream();
  float number = 5.0f;
  const MatrixView x{&number, 1, 1, 1};
  EXPECT_FALSE(link->has_message(0));
  ASSERT_TRUE(link->send(*stream, x).ok());
  EXPECT_TRUE(link->has_message(0));
  EXPECT_TRUE(link->has_message(1));
  ASSERT_TRUE(link->receive(*stream, 0, x).ok());
  EXPECT_FALSE(link->has_message(0));
  EXPECT_TRUE(link->has_message(1));
  link->abort({ErrorCode::kDeviceFailed, "a fault", {}, {}, {}});
  EXPECT_TRUE(link->has_message(0));  // receive() will not block
}

TEST(LocalLink, EveryReceiverGetsEveryMessageInOrder) {
  for (const int num_receivers : {1, 2, 5}) {
    for (const int num_slots : {2, 3}) {
      for (const std::int64_t spin_us : {0, 2000}) {
        LocalLinkOptions options = options_for(num_receivers, num_slots);
        options.spin_us = spin_us;
        const auto link = create_local_link(options);
        constexpr int kMessages = 400;
        std::vector<std::thread> threads;
        for (int receiver = 0; receiver < num_receivers; ++receiver) {
          threads.emplace_back([&, receiver] {
            const auto stream = any_stream();
            for (int i = 0; i < kMessages; ++i) {
              // Rows that lie apart; shapes change from message to message.
              std::vector<float> x(static_cast<std::size_t>(5 * 40), -1.0f);
              const MatrixView view{x.data(), i % 5, 33, 40};
              ASSERT_TRUE(link->receive(*stream, receiver, view).ok());
              for (std::int64_t row = 0; row < view.rows; ++row) {
                ASSERT_EQ(view.row(row)[0], static_cast<float>(i));
                ASSERT_EQ(view.row(row)[32], static_cast<float>(i + row));
                ASSERT_EQ(view.row(row)[33], -1.0f);
              }
            }
          });
        }
        const auto stream = any_stream();
        for (int i = 0; i < kMessages; ++i) {
          std::vector<float> x(static_cast<std::size_t>(5 * 33), static_cast<float>(i));
          for (int row = 0; row < 5; ++row) {
            x[static_cast<std::size_t>(row * 33 + 32)] = static_cast<float>(i + row);
          }
          ASSERT_TRUE(link->send(*stream, dense(x.data(), i % 5, 33)).ok());
        }
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(link->stats(-1).num_transfers, kMessages);
        EXPECT_EQ(link->stats(0).sent_bytes, kMessages / 5 * (0 + 1 + 2 + 3 + 4) * 33 * 4);
      }
    }
  }
}

TEST(LocalLink, TwoMessagesGoWithoutAReceiver) {
  LocalLinkOptions options = options_for(1);
  options.deadline_us = 20'000;
  const auto link = create_local_link(options);
  const auto stream = any_stream();
  float x[4] = {1, 2, 3, 4};
  EXPECT_TRUE(link->send(*stream, dense(x, 1, 4)).ok());
  EXPECT_TRUE(link->send(*stream, dense(x, 2, 2)).ok());
  const Status third = link->send(*stream, dense(x, 1, 4));
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().code, ErrorCode::kDeadline);
  EXPECT_EQ(link->receive(*stream, 0, dense(x, 1, 4)).error().code, ErrorCode::kDeadline);
}

TEST(LocalLink, AnotherShapeIsAnError) {
  const auto link = create_local_link(options_for(1));
  const auto stream = any_stream();
  float x[4] = {};
  ASSERT_TRUE(link->send(*stream, dense(x, 1, 4)).ok());
  EXPECT_EQ(link->receive(*stream, 0, dense(x, 2, 2)).error().code, ErrorCode::kInternal);
  EXPECT_FALSE(link->send(*stream, dense(x, 1, 4)).ok());
}

TEST(LocalLink, AbortEndsBothKindsOfWait) {
  for (const std::int64_t spin_us : {0, 10'000'000}) {
    LocalLinkOptions options = options_for(2);
    options.spin_us = spin_us;
    const auto link = create_local_link(options);
    std::atomic<bool> has_stopped{false};
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
      const auto stream = any_stream();
      float x[4] = {};
      Status status;
      while (status.ok()) status = link->send(*stream, dense(x, 1, 4));
      EXPECT_EQ(status.error().code, ErrorCode::kPeerLost);
    });
    for (int receiver = 0; receiver < 2; ++receiver) {
      threads.emplace_back([&, receiver] {
        const auto stream = any_stream();
        float x[4] = {};
        Status status;
        // Receiver 1 stops taking: the sender and, for want of messages, receiver 0 wait.
        for (int i = 0; status.ok() && (receiver == 0 || i < 5); ++i) {
          status = link->receive(*stream, receiver, dense(x, 1, 4));
        }
        EXPECT_EQ(status.ok(), receiver == 1);
        if (receiver == 1) has_stopped = true;
      });
    }
    while (!has_stopped) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    link->abort(Error{ErrorCode::kDeviceFailed, "stage lost", {}, {}, {}});
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(LocalLink, InjectedDelayIsPaidByTheReceiver) {
  LocalLinkOptions options = options_for(1);
  options.injected_delay_us = 2000;
  const auto link = create_local_link(options);
  const auto stream = any_stream();
  float x[4] = {};
  ASSERT_TRUE(link->send(*stream, dense(x, 1, 4)).ok());
  const std::int64_t begin_us = monotonic_us();
  ASSERT_TRUE(link->receive(*stream, 0, dense(x, 1, 4)).ok());
  EXPECT_GE(monotonic_us() - begin_us, 2000);
  EXPECT_GE(link->stats(0).wait_seconds, 2000e-6);
}

}  // namespace
}  // namespace tandem
