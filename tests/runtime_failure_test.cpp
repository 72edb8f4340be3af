// What the runtime does when a device fails, hangs or is merely slow: an error within the deadline,
// no rank left waiting, and a destructor that returns.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include "base/clock.h"
#include "support/devices_here.h"
#include "support/faulty_device.h"

namespace tandem::test {
namespace {

constexpr std::int64_t kSecondUs = 1'000'000;

const ReferenceModel& model() {
  static const ReferenceModel loaded = load_reference("llama-mqa-q8_0").value();
  return loaded;
}

std::shared_ptr<const StepBatch> batch_of(const Plan& plan, std::int32_t num_tokens,
                                          std::int32_t context = 0) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(num_tokens), 3);
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(plan.kv.num_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  auto batch = std::make_shared<StepBatch>();
  append_sequence(*batch, ids, context + num_tokens, blocks, plan.kv.block_tokens, true);
  return batch;
}

struct Running {
  std::vector<std::shared_ptr<Fault>> faults;  // of each rank
  std::unique_ptr<Runtime> runtime;
};

Running start(const SplitChoice& split, std::int64_t deadline_us = 30 * kSecondUs) {
  Running running;
  RunChoice run;
  run.deadline_us = deadline_us;
  run.wrap_device = [&](int, std::unique_ptr<Device> device) {
    running.faults.push_back(std::make_shared<Fault>());
    return make_faulty(std::move(device), running.faults.back());
  };
  running.runtime = start_here(model(), split, run).value();
  return running;
}

// Without it a rank's thread wanders over the cores, and meets those of other ranks.
TEST(RankThreads, BindThemselvesToTheirDevicesBeforeTheyLoad) {
  TANDEM_SKIP_WHERE_NOTHING_RUNS();
  const Running running = start({"two ranks, then one", {{1, 1}, {1}}});
  ASSERT_EQ(running.faults.size(), 3u);
  for (const auto& fault : running.faults) EXPECT_EQ(fault->num_binds(), 1);
}

struct Place {
  SplitChoice split;
  std::size_t rank;
  int after;  // synchronizes before the fault
};

class FailingPlace : public testing::TestWithParam<Place> {
 protected:
  void SetUp() override { TANDEM_SKIP_WHERE_NOTHING_RUNS(); }
};

class DeviceFailure : public FailingPlace {};

TEST_P(DeviceFailure, ReachesEveryWaitAndEndsTheRuntime) {
  const Place& place = GetParam();
  Running running = start(place.split);
  Runtime& runtime = *running.runtime;
  ASSERT_TRUE(runtime.step(batch_of(runtime.plan(), 5)).ok());
  running.faults[place.rank]->fail_after(place.after);
  const std::int64_t began = monotonic_us();
  const auto first = runtime.submit(batch_of(runtime.plan(), 50, 5));
  const auto second = runtime.submit(batch_of(runtime.plan(), 1, 55));
  ASSERT_TRUE(first.ok());
  const auto result = runtime.wait(*first);
  ASSERT_FALSE(result.ok());
  const ErrorCode code = result.error().code;
  EXPECT_TRUE(code == ErrorCode::kDeviceFailed || code == ErrorCode::kPeerLost)
      << result.error().to_string();
  EXPECT_NE(result.error().what.find("fell off the bus"), std::string::npos)
      << result.error().to_string();
  if (second.ok()) {
    EXPECT_FALSE(runtime.wait(*second).ok());
  }
  EXPECT_FALSE(runtime.submit(batch_of(runtime.plan(), 1)).ok());
  running.runtime.reset();
  EXPECT_LT(monotonic_us() - began, 10 * kSecondUs);  // not the deadline of 30 s
}

INSTANTIATE_TEST_SUITE_P(Places, DeviceFailure,
                         testing::Values(Place{{"One", {{1}}}, 0, 0},
                                         Place{{"TensorFirst", {{1, 1, 1}}}, 0, 1},
                                         Place{{"TensorLast", {{1, 1, 1}}}, 2, 3},
                                         Place{{"FirstStage", {{1}, {1}}}, 0, 0},
                                         Place{{"FirstStageLater", {{1}, {1}}}, 0, 4},
                                         Place{{"LastStage", {{1}, {1}}}, 1, 2},
                                         Place{{"HybridSecondOfFirst", {{1, 1}, {1, 1}}}, 1, 2},
                                         Place{{"HybridSecondOfLast", {{1, 1}, {1, 1}}}, 3, 1}),
                         [](const auto& param) { return param.param.split.name; });

class Hang : public FailingPlace {};

TEST_P(Hang, IsGivenUpAfterTheDeadline) {
  const Place& place = GetParam();
  const std::int64_t deadline_us = is_slow_here() ? kSecondUs : 300'000;
  Running running = start(place.split, deadline_us);
  Runtime& runtime = *running.runtime;
  running.faults[place.rank]->hang_after(place.after);
  const std::int64_t began = monotonic_us();
  const auto result = runtime.step(batch_of(runtime.plan(), 50));
  const std::int64_t waited = monotonic_us() - began;
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kDeadline) << result.error().to_string();
  EXPECT_GE(waited, deadline_us);
  EXPECT_LT(waited, 10 * kSecondUs);
  // A thread cannot be killed: the destructor returns once the hung rank comes back.
  std::thread helper([fault = running.faults[place.rank]] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    fault->release();
  });
  running.runtime.reset();
  helper.join();
}

INSTANTIATE_TEST_SUITE_P(Places, Hang,
                         testing::Values(Place{{"One", {{1}}}, 0, 0},
                                         Place{{"Tensor", {{1, 1}}}, 1, 2},
                                         Place{{"FirstStage", {{1}, {1}}}, 0, 1},
                                         Place{{"LastStage", {{1}, {1}}}, 1, 1}),
                         [](const auto& param) { return param.param.split.name; });

TEST(Deadline, DoesNotEndAStepThatMakesProgress) {
  TANDEM_SKIP_WHERE_NOTHING_RUNS();
  Running running = start({"tensor2", {{1, 1}}}, kSecondUs);
  running.faults[1]->slow_down(250'000);
  const std::int64_t began = monotonic_us();
  const auto result = running.runtime->step(batch_of(running.runtime->plan(), 5));
  EXPECT_TRUE(result.ok()) << result.error().to_string();
  EXPECT_GT(monotonic_us() - began, kSecondUs);  // else the test shows nothing
}

TEST(LoadFailure, OfOneRankOfFourIsTheErrorOfAll) {
  TANDEM_SKIP_WHERE_NOTHING_RUNS();
  for (const std::size_t rank : {0u, 2u, 3u}) {
    RunChoice run;
    run.wrap_device = [&](int index, std::unique_ptr<Device> device) {
      auto fault = std::make_shared<Fault>();
      if (static_cast<std::size_t>(index) == rank) fault->fail_load_after(3);
      return make_faulty(std::move(device), fault);
    };
    const auto runtime = start_here(model(), {"hybrid", {{1, 1}, {1, 1}}}, run);
    ASSERT_FALSE(runtime.ok());
    EXPECT_EQ(runtime.error().code, ErrorCode::kOutOfMemory);
    EXPECT_NE(runtime.error().to_string().find("loading blk."), std::string::npos)
        << runtime.error().to_string();
  }
}

TEST(FaultyBatch, IsRefusedAndTheRuntimeStaysUsable) {
  TANDEM_SKIP_WHERE_NOTHING_RUNS();
  Running running = start({"pipeline2", {{1}, {1}}});
  Runtime& runtime = *running.runtime;
  const auto expected = runtime.step(batch_of(runtime.plan(), 9));
  ASSERT_TRUE(expected.ok());

  auto bad_id = *batch_of(runtime.plan(), 9);
  bad_id.token_ids[4] = -7;
  auto bad_slot = *batch_of(runtime.plan(), 9);
  bad_slot.slots[2] = 1'000'000'000;
  auto too_many_rows = *batch_of(runtime.plan(), 40);
  too_many_rows.output_rows.resize(40);
  std::iota(too_many_rows.output_rows.begin(), too_many_rows.output_rows.end(), 0);
  const StepBatch faulty[] = {{},
                              bad_id,
                              bad_slot,
                              too_many_rows,
                              *batch_of(runtime.plan(), runtime.plan().max_batch_tokens + 1)};
  for (const StepBatch& batch : faulty) {
    const auto refused = runtime.submit(std::make_shared<const StepBatch>(batch));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kInternal);
  }
  const auto unknown = runtime.wait(12345);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::kInternal);

  const auto again = runtime.step(batch_of(runtime.plan(), 9));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->logits, expected->logits);
}

}  // namespace
}  // namespace tandem::test
