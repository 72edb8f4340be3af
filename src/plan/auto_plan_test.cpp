#include "plan/auto_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/units.h"
#include "plan/models_for_test.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<MachineDevice> cpus(int count, int cores_each = 2) {
  std::vector<MachineDevice> devices;
  for (int i = 0; i < count; ++i) {
    MachineDevice device;
    device.id = "cpu:" + std::to_string(i);
    device.memory_bytes = kGiB;
    for (int j = 0; j < cores_each; ++j) device.cores.push_back(i * cores_each + j);
    devices.push_back(device);
  }
  return devices;
}

std::vector<std::size_t> group_sizes(const Plan& plan) {
  std::vector<std::size_t> sizes;
  for (const StagePlan& stage : plan.stages) sizes.push_back(stage.ranks.size());
  return sizes;
}

Plan must_choose(const std::vector<MachineDevice>& devices, const PlanRequest& request) {
  const ModelSpec spec = model_for_test({});
  auto plan = choose_plan(spec, devices, request);
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().to_string());
  return *plan;
}

TEST(ChoosePlan, ObeysExplicitSplits) {
  PlanRequest request;
  request.split = SplitMode::kTensor;
  EXPECT_THAT(group_sizes(must_choose(cpus(3), request)), ElementsAre(3));
  request.split = SplitMode::kLayer;
  EXPECT_THAT(group_sizes(must_choose(cpus(3), request)), ElementsAre(1, 1, 1));
  request.split = SplitMode::kHybrid;
  EXPECT_THAT(group_sizes(must_choose(cpus(3), request)), ElementsAre(2, 1));
  request.split = SplitMode::kNone;
  request.main_device = 1;
  const Plan one = must_choose(cpus(3), request);
  EXPECT_THAT(group_sizes(one), ElementsAre(1));
  EXPECT_EQ(one.stages[0].ranks[0].device, "cpu:1");
}

TEST(ChoosePlan, ObeysGroupSizeAndStages) {
  PlanRequest request;
  request.group_size = 2;
  request.num_stages = 2;
  EXPECT_THAT(group_sizes(must_choose(cpus(4), request)), ElementsAre(2, 2));
  request.num_stages.reset();
  EXPECT_THAT(group_sizes(must_choose(cpus(3), request)), ElementsAre(2, 1));
  request.group_size.reset();
  request.num_stages = 2;
  EXPECT_THAT(group_sizes(must_choose(cpus(4), request)), ElementsAre(2, 2));
}

TEST(ChoosePlan, SharesByHandAndZeroLeavesADeviceOut) {
  PlanRequest request;
  request.split = SplitMode::kLayer;
  request.shares = {3, 0, 1};
  const Plan plan = must_choose(cpus(3), request);
  EXPECT_THAT(group_sizes(plan), ElementsAre(1, 1));
  EXPECT_EQ(plan.stages[0].num_layers, 3);
  EXPECT_EQ(plan.stages[1].ranks[0].device, "cpu:2");
}

TEST(ChoosePlan, RefusesContradictions) {
  const ModelSpec spec = model_for_test({});
  const auto refuses = [&](const PlanRequest& request, const char* text) {
    const auto plan = choose_plan(spec, cpus(2), request);
    ASSERT_FALSE(plan.ok()) << text;
    EXPECT_EQ(exit_code_of(plan.error().code), 2);
    EXPECT_THAT(plan.error().to_string(), HasSubstr(text));
  };
  PlanRequest request;
  request.group_size = 3;
  refuses(request, "more devices than there are");
  request = {};
  request.group_size = 0;
  refuses(request, "at least 1");
  request = {};
  request.split = SplitMode::kLayer;
  request.group_size = 2;
  refuses(request, "contradicts --tp 2");
  request = {};
  request.split = SplitMode::kTensor;
  request.num_stages = 2;
  refuses(request, "contradicts --pp 2");
  request = {};
  request.shares = {1};
  refuses(request, "one share for each device");
  request.shares = {0, 0};
  refuses(request, "no device with a share");
  request.shares = {1, -1};
  refuses(request, "0 or more");
  request = {};
  request.main_device = 2;
  refuses(request, "-mg");
  request = {};
  request.context_tokens = -1;
  refuses(request, "-c");
}

TEST(ChoosePlan, ContextDefaultsToTheModelsOrFourThousand) {
  ModelSpec spec = model_for_test({});
  spec.context_tokens = 131072;
  PlanRequest request;
  EXPECT_EQ(choose_plan(spec, cpus(1), request)->context_tokens, 4096);
  request.context_tokens = 0;
  EXPECT_EQ(choose_plan(spec, cpus(1), request)->context_tokens, 131072);
}

TEST(ChoosePlan, SaysWhatWouldFit) {
  const ModelSpec spec = model_for_test({});
  std::vector<MachineDevice> devices = cpus(1);
  devices[0].memory_bytes = 16 * kMiB;
  PlanRequest request;
  request.context_tokens = 65536;  // 65536 * 2 KiB of keys and values
  const auto plan = choose_plan(spec, devices, request);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(exit_code_of(plan.error().code), 4);
  EXPECT_THAT(plan.error().to_string(), HasSubstr("too little"));
  EXPECT_THAT(plan.error().to_string(), HasSubstr("it fits with -c "));
}

TEST(ChoosePlan, SearchesWhereEqualSharesOverfillASmallDevice) {
  const ModelSpec spec = model_for_test({});
  std::vector<MachineDevice> devices = cpus(2);
  devices[0].memory_bytes = 64 * kMiB;
  devices[1].memory_bytes = 7 * kMiB;
  const auto plan = choose_plan(spec, devices, {});
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  EXPECT_TRUE(plan->fits);
  PlanRequest tensor;
  tensor.split = SplitMode::kTensor;
  EXPECT_FALSE(choose_plan(spec, devices, tensor).ok());
}

TEST(RelativeSpeeds, BandwidthElseCores) {
  std::vector<MachineDevice> devices = cpus(2);
  devices[1].cores.push_back(9);
  EXPECT_THAT(relative_speeds(devices), ElementsAre(2, 3));
  devices[0].bandwidth_gbps = 100;
  EXPECT_THAT(relative_speeds(devices), ElementsAre(2, 3));
  devices[1].bandwidth_gbps = 50;
  EXPECT_THAT(relative_speeds(devices), ElementsAre(100, 50));
}

}  // namespace
}  // namespace tandem
