// Which setups `tandem bench` compares, on cards that a model does or does not fit into.

#include "app/bench/bench_setups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/planned_models.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<MachineDevice> cards(int count, std::int64_t gib) {
  std::vector<MachineDevice> devices;
  for (int i = 0; i < count; ++i) {
    MachineDevice card;
    card.id = "cuda:" + std::to_string(i);
    card.kind = MachineDeviceKind::kGpu;
    card.name = "RTX 3090";
    card.memory_bytes = gib << 30;
    card.bandwidth_gbps = 936;
    devices.push_back(card);
  }
  return devices;
}

ModelSpec model(const char* name) {
  return plannable_model(name, "q4_k_m").value().spec;
}

std::vector<std::string> names(const BenchPlans& planned) {
  std::vector<std::string> names;
  for (const Plan& plan : planned.plans) names.push_back(plan.name);
  return names;
}

TEST(BenchSetups, BeginWithOneDevice) {
  const auto planned = bench_plans(model("llama-3-8b"), cards(2, 24), {}, 600);
  ASSERT_TRUE(planned.ok()) << planned.error().to_string();
  EXPECT_THAT(names(*planned), ElementsAre("one device", "2-way tensor", "2-stage pipeline"));
  EXPECT_THAT(planned->notes, IsEmpty());
}

TEST(BenchSetups, BeginWithThePipelineOfTheFewestThatHaveRoom) {
  const auto planned = bench_plans(model("llama-3-70b"), cards(4, 24), {}, 600);
  ASSERT_TRUE(planned.ok()) << planned.error().to_string();
  EXPECT_THAT(names(*planned), ElementsAre("2-stage pipeline", "2-way tensor", "4-way tensor",
                                           "4-stage pipeline", "2 stages x tensor 2+2"));
  ASSERT_THAT(planned->notes, ElementsAre(HasSubstr("no room")));
}

TEST(BenchSetups, LeaveOutWhatDoesNotFitAndSaySo) {
  const auto planned = bench_plans(model("llama-3-70b"), cards(4, 16), {}, 600);
  ASSERT_TRUE(planned.ok()) << planned.error().to_string();
  EXPECT_EQ(planned->plans.front().name, "3-stage pipeline");
  EXPECT_THAT(planned->notes, ElementsAre(HasSubstr("no room"), HasSubstr("2 x 1 devices left out"),
                                          HasSubstr("1 x 2 devices left out")));
}

TEST(BenchSetups, NamedOnesThatDoNotFitAreErrors) {
  BenchOptions options;
  options.plans = "2x1";
  const auto planned = bench_plans(model("llama-3-70b"), cards(4, 16), options, 600);
  ASSERT_FALSE(planned.ok());
  EXPECT_EQ(planned.error().code, ErrorCode::kDoesNotFit);
  EXPECT_FALSE(bench_plans(model("llama-3-70b"), cards(2, 16), {}, 600).ok());
}

}  // namespace
}  // namespace tandem
