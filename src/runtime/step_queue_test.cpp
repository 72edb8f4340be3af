#include "runtime/step_queue.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/clock.h"

namespace tandem {
namespace {

std::shared_ptr<PendingStep> push_step(StepQueue& queue, std::int32_t num_open,
                                       std::int64_t first_row = 0) {
  auto step = std::make_shared<PendingStep>();
  step->num_open = num_open;
  queue.push({std::make_shared<const StepBatch>(), first_row, step});
  return step;
}

TEST(StepQueue, EveryRankTakesEveryStepInOrder) {
  StepQueue queue(2);
  const auto first = push_step(queue, 2, 10);
  const auto second = push_step(queue, 2, 20);
  std::int64_t idle_ns = 0;
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(queue.take(0, idle_ns)->first_output_row, 10);
    queue.finish(0);
    EXPECT_EQ(first->done.count(), rank == 1 ? 1u : 0u);
    EXPECT_EQ(queue.take(1, idle_ns)->first_output_row, 20);
    queue.finish(1);
  }
  EXPECT_EQ(second->done.count(), 1u);
}

TEST(StepQueue, AStepOfSeveralMicroBatchesIsDoneWithItsLast) {
  StepQueue queue(1);
  auto step = std::make_shared<PendingStep>();
  step->num_open = 2;
  queue.push({std::make_shared<const StepBatch>(), 0, step});
  queue.push({std::make_shared<const StepBatch>(), 3, step});
  queue.finish(0);
  EXPECT_EQ(step->done.count(), 0u);
  queue.finish(1);
  EXPECT_EQ(step->done.count(), 1u);
}

TEST(StepQueue, TakeBlocksUntilThereIsAStepAndCountsTheTime) {
  StepQueue queue(1);
  std::thread late([&queue] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    push_step(queue, 1);
  });
  std::int64_t idle_ns = 0;
  EXPECT_TRUE(queue.take(0, idle_ns).has_value());
  EXPECT_GE(idle_ns, 10'000'000);
  late.join();
}

TEST(StepQueue, TakeReturnsForSomethingElseOnceItIsSo) {
  StepQueue queue(1);
  std::atomic<bool> is_so{false};
  std::int64_t idle_ns = 0;
  std::thread late([&] {
    queue.notify();  // nothing has changed yet
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    is_so = true;
    queue.notify();
  });
  EXPECT_FALSE(queue.take(0, idle_ns, [&] { return is_so.load(); }).has_value());
  EXPECT_FALSE(queue.is_stopped());
  EXPECT_GE(idle_ns, 5'000'000);
  late.join();
  push_step(queue, 1, 7);
  // A step that is there comes first.
  EXPECT_EQ(queue.take(0, idle_ns, [&] { return is_so.load(); })->first_output_row, 7);
}

TEST(StepQueue, StopEndsAWaitThatHasBegunAndThoseToCome) {
  StepQueue queue(1);
  std::thread late([&queue] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    queue.stop();
  });
  std::int64_t idle_ns = 0;
  EXPECT_FALSE(queue.take(0, idle_ns).has_value());
  late.join();
  push_step(queue, 1);
  EXPECT_FALSE(queue.take(0, idle_ns).has_value());
}

}  // namespace
}  // namespace tandem
