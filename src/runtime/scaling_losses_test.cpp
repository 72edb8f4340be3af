#include "runtime/scaling_losses.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

namespace tandem {
namespace {

using ::testing::DoubleNear;
using ::testing::Optional;

// A machine that can be reckoned by hand: layers of equal work, two reductions each, ranks that
// move through them together. Faults are put in as they would be in a real one.
struct Simulated {
  int num_ranks = 2;
  int num_steps = 64;
  int num_layers = 16;
  double work_s = 20e-3;  // of one step on one device
  double reduce_wait_s = 2e-6;
  double reduce_move_s = 1e-6;
  double host_s = 30e-6;  // between two steps
  double sampling_s = 10e-6;
  std::vector<double> slowdown = {0, 0};
};

RunTimes tensor_run(const Simulated& machine) {
  RunTimes run;
  const int reductions = 2 * machine.num_layers;
  const double part = machine.work_s / machine.num_ranks / reductions;
  run.ranks.resize(static_cast<std::size_t>(machine.num_ranks));
  run.work.assign(run.ranks.size(), 1.0 / machine.num_ranks);
  for (int step = 0; step < machine.num_steps; ++step) {
    run.wall += machine.host_s + machine.sampling_s;
    run.host += machine.host_s;
    run.sampling += machine.sampling_s;
    for (int reduction = 0; reduction < reductions; ++reduction) {
      const double slowest = *std::max_element(machine.slowdown.begin(), machine.slowdown.end());
      for (std::size_t i = 0; i < run.ranks.size(); ++i) {
        const double own = part * (1 + machine.slowdown[i]);
        run.ranks[i].compute += own;
        if (machine.num_ranks == 1) continue;
        run.ranks[i].wait += part * (1 + slowest) - own + machine.reduce_wait_s;
        run.ranks[i].reduce += machine.reduce_move_s;
      }
      run.wall += part * (1 + slowest);
      if (machine.num_ranks > 1) run.wall += machine.reduce_wait_s + machine.reduce_move_s;
    }
  }
  return run;
}

RunTimes one_device() {
  Simulated machine;
  machine.num_ranks = 1;
  machine.slowdown = {0};
  return tensor_run(machine);
}

// Two stages; each step passes both. With one step in flight a stage waits for the other.
RunTimes pipeline_run(double first_s, double second_s, int steps, int in_flight) {
  RunTimes run;
  run.ranks.resize(2);
  run.ranks[1].stage = 1;
  run.work = {0.5, 0.5};
  run.steps_in_flight = in_flight;
  run.ranks[0].compute = first_s * steps;
  run.ranks[1].compute = second_s * steps;
  run.wall = in_flight == 1 ? (first_s + second_s) * steps
                            : std::max(first_s, second_s) * steps + std::min(first_s, second_s);
  run.ranks[1].stage_wait = (run.wall - run.ranks[1].compute) / 2;  // the rest is idle
  return run;
}

RunTimes alone(double work_s) {
  RunTimes run;
  run.ranks.resize(1);
  run.work = {1};
  run.ranks[0].compute = run.wall = work_s;
  return run;
}

double total(const LossAccount& account) {
  return std::accumulate(account.losses.begin(), account.losses.end(), account.efficiency);
}

TEST(ScalingLosses, OneDeviceAgainstItselfLosesNothing) {
  const LossAccount account = account_for_losses(one_device(), one_device());
  EXPECT_DOUBLE_EQ(account.efficiency, 1.0);
  for (const double loss : account.losses) EXPECT_NEAR(loss, 0, 1e-9);
  EXPECT_EQ(account.main_cause(), std::nullopt);
}

TEST(ScalingLosses, SumToTheLoss) {
  const LossAccount account = account_for_losses(one_device(), tensor_run({}));
  EXPECT_THAT(total(account), DoubleNear(1.0, 1e-9));
  EXPECT_NEAR(account.speedup, 2 * account.efficiency, 1e-9);
  EXPECT_GT(account.efficiency, 0.95);
  EXPECT_FALSE(account.slowest_rank);
}

TEST(ScalingLosses, HostAndSamplingAreSerial) {
  // 40 us a step that one device has too and two have twice: 40 of 2 x 10148 us.
  const LossAccount account = account_for_losses(one_device(), tensor_run({}));
  const double step_s = 10e-3 + 40e-6 + 32 * 3e-6;
  EXPECT_NEAR(account[LossCause::kHost], 30e-6 / (2 * step_s), 1e-6);
  EXPECT_NEAR(account[LossCause::kSampling], 10e-6 / (2 * step_s), 1e-6);
  EXPECT_NEAR(account[LossCause::kAllReduceLatency], 32 * 2e-6 / step_s, 1e-6);
  EXPECT_NEAR(account[LossCause::kAllReduceBandwidth], 32 * 1e-6 / step_s, 1e-6);
}

TEST(ScalingLosses, NamesARankSlowedBy20Percent) {
  for (const std::size_t slow : {0u, 1u}) {
    Simulated machine;
    machine.slowdown[slow] = 0.2;
    const LossAccount account = account_for_losses(one_device(), tensor_run(machine));
    EXPECT_THAT(account.main_cause(), Optional(LossCause::kImbalance));
    EXPECT_THAT(account.slowest_rank, Optional(slow));
    EXPECT_NEAR(account.slower_by, 0.2, 1e-9);
    // 0.2 of its work and 0.2 of waiting beside 2.4 in all.
    EXPECT_NEAR(account[LossCause::kImbalance], 0.4 / 2.4, 0.005);
    EXPECT_THAT(total(account), DoubleNear(1.0, 1e-9));
  }
}

TEST(ScalingLosses, NamesALinkSlowedBy50Microseconds) {
  Simulated machine;
  machine.reduce_wait_s += 50e-6;
  const LossAccount account = account_for_losses(one_device(), tensor_run(machine));
  EXPECT_THAT(account.main_cause(), Optional(LossCause::kAllReduceLatency));
  EXPECT_NEAR(account[LossCause::kAllReduceLatency], 32 * 52e-6 / (10.04e-3 + 32 * 53e-6), 1e-4);
  EXPECT_FALSE(account.slowest_rank);
}

TEST(ScalingLosses, NamesALinkOfLittleBandwidth) {
  Simulated machine;
  machine.reduce_move_s = 80e-6;
  const LossAccount account = account_for_losses(one_device(), tensor_run(machine));
  EXPECT_THAT(account.main_cause(), Optional(LossCause::kAllReduceBandwidth));
}

TEST(ScalingLosses, NamesAThrottledRank) {
  Simulated machine;
  machine.slowdown[1] = 0.3;
  const LossAccount account =
      account_for_losses(one_device(), tensor_run(machine), {.is_throttled = true});
  EXPECT_THAT(account.main_cause(), Optional(LossCause::kThrottling));
  EXPECT_EQ(account[LossCause::kImbalance], 0);
  EXPECT_THAT(account.slowest_rank, Optional(1u));
  EXPECT_THAT(total(account), DoubleNear(1.0, 1e-9));
}

TEST(ScalingLosses, ASharedBusIsNotBlamedOnCommunication) {
  Simulated machine;
  machine.slowdown = {0.6, 0.6};  // both alike
  const LossContext context{.shared_ceiling_ratio = 1.6};
  const LossAccount account = account_for_losses(one_device(), tensor_run(machine), context);
  EXPECT_THAT(account.main_cause(), Optional(LossCause::kSharedCeiling));
  EXPECT_NEAR(account[LossCause::kCompute], 0, 1e-6);
  // Without such a ceiling the arithmetic itself is slow.
  EXPECT_THAT(account_for_losses(one_device(), tensor_run(machine)).main_cause(),
              Optional(LossCause::kCompute));
}

TEST(ScalingLosses, OneStreamThroughStagesIsABubble) {
  const LossAccount account =
      account_for_losses(alone(64 * 20e-3), pipeline_run(10e-3, 10e-3, 64, 1));
  EXPECT_NEAR(account.efficiency, 0.5, 1e-9);
  EXPECT_THAT(account.main_cause(), Optional(LossCause::kBubble));
  EXPECT_NEAR(account[LossCause::kBubble], 0.5, 1e-9);
}

TEST(ScalingLosses, AFullPipelineWaitsForItsSlowestStage) {
  const LossAccount account =
      account_for_losses(alone(64 * 20e-3), pipeline_run(10e-3, 13e-3, 64, 2));
  EXPECT_THAT(account.main_cause(), Optional(LossCause::kImbalance));
  EXPECT_THAT(account.slowest_rank, Optional(1u));
  EXPECT_THAT(total(account), DoubleNear(1.0, 1e-9));
  // Equal stages lose only what filling the pipeline takes.
  EXPECT_NEAR(account_for_losses(alone(64 * 20e-3), pipeline_run(10e-3, 10e-3, 64, 2)).efficiency,
              64.0 / 65, 1e-9);
}

TEST(ScalingLosses, GainsAreNegativeLosses) {
  Simulated machine;
  machine.slowdown = {-0.1, -0.1};  // the parts fit into caches
  const LossAccount account = account_for_losses(one_device(), tensor_run(machine));
  EXPECT_GT(account.efficiency, 1.0);
  EXPECT_LT(account[LossCause::kCompute], -0.05);
  EXPECT_THAT(total(account), DoubleNear(1.0, 1e-9));
}

TEST(ScalingLosses, FindsTheRankThatBecameSlower) {
  std::vector<std::vector<double>> compute(9, {1.0, 1.0});
  EXPECT_EQ(find_throttled_rank(compute), std::nullopt);
  for (std::size_t i = 5; i < 9; ++i) compute[i][1] = 1.25;
  EXPECT_THAT(find_throttled_rank(compute), Optional(1u));
  for (auto& repetition : compute) repetition[0] = repetition[1];  // all of them: not one rank
  EXPECT_EQ(find_throttled_rank(compute), std::nullopt);
  for (auto& repetition : compute) repetition = {1.0, 1.25};  // slow from the start: no throttling
  EXPECT_EQ(find_throttled_rank(compute), std::nullopt);
  compute.resize(5);
  EXPECT_EQ(find_throttled_rank(compute), std::nullopt);
}

TEST(ScalingLosses, NamesAreUnique) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < kNumLossCauses; ++i) names.push_back(name_of(LossCause(i)));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

// Two stages that work by turns: one device would take their arithmetic one after the other, and
// wait for nobody. A group of two that is twice as fast as that has lost nothing.
TEST(ScalingLosses, StagesTellWhatOneDeviceWouldTake) {
  RunTimes stages;
  stages.wall = 10.5;
  stages.host = 0.1;
  stages.sampling = 0.05;
  stages.ranks.resize(2);
  stages.work = {0.45, 0.55};
  stages.ranks[0].compute = 4;
  stages.ranks[0].idle = 6;
  stages.ranks[1].stage = 1;
  stages.ranks[1].compute = 5;
  stages.ranks[1].stage_wait = 5;
  stages.ranks[1].output = 0.25;
  const RunTimes one = as_one_device(stages);
  ASSERT_EQ(one.ranks.size(), 1u);
  EXPECT_DOUBLE_EQ(one.ranks[0].compute, 9);
  EXPECT_DOUBLE_EQ(one.wall, 9.4);

  const LossAccount account = account_for_losses(one, stages);
  EXPECT_THAT(account.speedup, DoubleNear(9.4 / 10.5, 1e-9));
  EXPECT_EQ(account.main_cause(), LossCause::kBubble);

  RunTimes group;
  group.wall = 4.7;
  group.work = {0.5, 0.5};
  group.ranks.resize(2);
  for (RankTimes& rank : group.ranks) rank.compute = 4.5;
  EXPECT_DOUBLE_EQ(account_for_losses(one, group).efficiency, 1);
}

}  // namespace
}  // namespace tandem
