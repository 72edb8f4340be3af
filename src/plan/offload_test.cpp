#include "plan/offload.h"

#include <gtest/gtest.h>

#include "base/units.h"
#include "plan/machine_text.h"
#include "plan/models_for_test.h"

namespace tandem {
namespace {

constexpr std::int64_t kReserve = 512 * kMiB;  // of a GPU, for its driver

MachineDevice gpu(int index, std::int64_t free_bytes) {
  MachineDevice device;
  device.id = "cuda:" + std::to_string(index);
  device.kind = MachineDeviceKind::kGpu;
  device.memory_bytes = free_bytes + kReserve;
  return device;
}

MachineDevice processor(std::string id = "cpu", std::int64_t bytes = 64 * kGiB) {
  MachineDevice device;
  device.id = std::move(id);
  device.kind = MachineDeviceKind::kCpu;
  device.memory_bytes = bytes;
  device.cores = {0, 1};
  return device;
}

const ModelSpec& spec() {
  static const ModelSpec model = model_for_test({.layers = 6, .hidden = 1024, .ffn = 4096});
  return model;
}

std::vector<std::int32_t> layers_of(const Plan& plan) {
  std::vector<std::int32_t> layers;
  for (const StagePlan& stage : plan.stages) layers.push_back(stage.num_layers);
  return layers;
}

// What a GPU needs for all of the model.
std::int64_t whole_bytes() {
  const auto plan = choose_plan(spec(), {gpu(0, 64 * kGiB)}, {});
  EXPECT_TRUE(plan.ok());
  return plan->stages[0].ranks[0].total_bytes();
}

TEST(OffloadPlan, TheLastLayersAreOnTheGpusAndTheFirstOnTheProcessor) {
  const std::vector<MachineDevice> gpus = {gpu(0, kGiB), gpu(1, kGiB)};
  const auto plan = choose_placed_plan(spec(), gpus, processor(), {}, {4, true});
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  ASSERT_EQ(layers_of(*plan), (std::vector<std::int32_t>{2, 4}));
  EXPECT_EQ(plan->stages[0].ranks.front().device, "cpu");
  ASSERT_EQ(plan->stages[1].ranks.size(), 2u);
  EXPECT_TRUE(plan->stages[1].ranks[0].shard.has_output);
  EXPECT_EQ(num_layers_on(*plan, gpus, MachineDeviceKind::kGpu), 4);
  EXPECT_TRUE(validate(*plan, spec()).ok());
}

// What `run` and `serve` do on two cards of which the flags say no more.
Plan plan_on(const std::string& gpus, const std::string& link, bool named) {
  const Machine machine = machine_from_text({{gpus}, link, false}).value();
  OffloadRequest offload;
  offload.devices_are_named = named;
  offload.links = machine.links;
  const ModelSpec llama = model_for_test({.layers = 32,
                                          .hidden = 4096,
                                          .q_heads = 32,
                                          .kv_heads = 8,
                                          .head_dim = 128,
                                          .ffn = 14336,
                                          .vocabulary = 128'256});
  return choose_placed_plan(llama, machine.devices, processor(), {}, offload).value();
}

TEST(AutoPlan, GpusThatExchangeQuicklyShareLayers) {
  const Plan plan = plan_on("2x RTX 3090", "nvlink3", false);
  EXPECT_EQ(plan.split, SplitMode::kTensor) << plan.name;
}

TEST(AutoPlan, GpusThatExchangeSlowlyDoNot) {
  const Plan plan = plan_on("2x RTX 3090", "pcie3x1", true);
  EXPECT_EQ(plan.split, SplitMode::kLayer) << plan.name;
  EXPECT_EQ(plan.num_ranks(), 2u) << "named devices are used";
}

TEST(AutoPlan, ASlowCardIsLeftOutUnlessItIsNamed) {
  EXPECT_EQ(plan_on("RTX 4090 + Tesla P40", "pcie3x4", false).num_ranks(), 1u);
  EXPECT_EQ(plan_on("RTX 4090 + Tesla P40", "pcie3x4", true).num_ranks(), 2u);
}

TEST(OffloadPlan, AllAndNoneAreOrdinaryPlans) {
  const std::vector<MachineDevice> gpus = {gpu(0, kGiB)};
  const auto all = choose_placed_plan(spec(), gpus, processor(), {}, {999, true});
  ASSERT_TRUE(all.ok()) << all.error().to_string();
  EXPECT_EQ(layers_of(*all), std::vector<std::int32_t>{6});
  EXPECT_EQ(all->stages[0].ranks[0].device, "cuda:0");
  const auto none = choose_placed_plan(spec(), gpus, processor(), {}, {0, true});
  ASSERT_TRUE(none.ok()) << none.error().to_string();
  EXPECT_EQ(none->stages[0].ranks[0].device, "cpu");
}

// A GPU with room for about half of the model gets as many layers as it holds, not one fewer.
TEST(OffloadPlan, FillsTheGpuWithWhatFits) {
  const std::vector<MachineDevice> gpus = {gpu(0, whole_bytes() / 2)};
  ASSERT_FALSE(choose_plan(spec(), gpus, {}).ok());
  const auto plan = choose_placed_plan(spec(), gpus, processor(), {}, {});
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  const std::int32_t layers = num_layers_on(*plan, gpus, MachineDeviceKind::kGpu);
  ASSERT_GT(layers, 0);
  ASSERT_LT(layers, spec().num_layers);
  const auto more = choose_placed_plan(spec(), gpus, processor(), {}, {layers + 1});
  ASSERT_FALSE(more.ok());
  EXPECT_EQ(more.error().code, ErrorCode::kDoesNotFit);
  EXPECT_NE(more.error().to_string().find("cuda:0 needs"), std::string::npos)
      << more.error().to_string();
}

TEST(OffloadPlan, DevicesThatWereNamedAreAllThatIsUsed) {
  const std::vector<MachineDevice> gpus = {gpu(0, whole_bytes() / 2)};
  const auto plan = choose_placed_plan(spec(), gpus, processor(), {}, {std::nullopt, true});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kDoesNotFit);
}

TEST(OffloadPlan, SaysWhatTheProcessorLacksWhereNeitherHoldsTheModel) {
  const std::vector<MachineDevice> gpus = {gpu(0, whole_bytes() / 3)};
  const MachineDevice small = processor("cpu", whole_bytes() / 3);
  const auto plan = choose_placed_plan(spec(), gpus, small, {}, {});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kDoesNotFit);
  EXPECT_NE(plan.error().to_string().find("cpu needs"), std::string::npos)
      << plan.error().to_string();
}

TEST(OffloadPlan, StagesOfGpusShareTheirLayers) {
  PlanRequest request;
  request.split = SplitMode::kLayer;
  const std::vector<MachineDevice> gpus = {gpu(0, kGiB), gpu(1, kGiB)};
  const auto three = choose_placed_plan(spec(), gpus, processor(), request, {4});
  ASSERT_TRUE(three.ok()) << three.error().to_string();
  EXPECT_EQ(layers_of(*three), (std::vector<std::int32_t>{2, 2, 2}));
  // More GPUs than layers: one is left out.
  const auto two = choose_placed_plan(spec(), gpus, processor(), request, {1});
  ASSERT_TRUE(two.ok()) << two.error().to_string();
  EXPECT_EQ(layers_of(*two), (std::vector<std::int32_t>{5, 1}));
}

// cuda:0,cpu:0-1 -ngl 4: those cores take the others.
TEST(OffloadPlan, CoresThatAreNamedBesideGpusTakeTheOtherLayers) {
  const std::vector<MachineDevice> both = {gpu(0, kGiB), processor("cpu:0-1")};
  const auto placed = choose_placed_plan(spec(), both, processor(), {}, {4, true});
  ASSERT_TRUE(placed.ok()) << placed.error().to_string();
  EXPECT_EQ(placed->stages[0].ranks[0].device, "cpu:0-1");
  EXPECT_EQ(layers_of(*placed), (std::vector<std::int32_t>{2, 4}));
  const std::vector<MachineDevice> three = {both[0], processor("cpu:0"), processor("cpu:1")};
  for (const std::optional<std::int32_t> layers : {std::optional<std::int32_t>{4}, {}}) {
    const auto refused = choose_placed_plan(spec(), three, processor(), {}, {layers, true});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  }
}

// cuda:0,cpu:0-1 and nothing more: the GPU holds what fits, and cores only what does not.
TEST(OffloadPlan, CoresThatAreNamedBesideGpusHoldOnlyWhatDoesNotFit) {
  const MachineDevice cores = processor("cpu:0-1");
  for (const bool gpu_first : {true, false}) {
    std::vector<MachineDevice> both = {gpu(0, kGiB), cores};
    if (!gpu_first) std::swap(both[0], both[1]);
    const auto whole = choose_placed_plan(spec(), both, processor(), {}, {std::nullopt, true});
    ASSERT_TRUE(whole.ok()) << whole.error().to_string();
    ASSERT_EQ(whole->num_ranks(), 1u);
    EXPECT_EQ(whole->stages[0].ranks[0].device, "cuda:0");
    *both[gpu_first ? 0 : 1].memory_bytes = whole_bytes() / 2 + kReserve;
    const auto cut = choose_placed_plan(spec(), both, processor(), {}, {std::nullopt, true});
    ASSERT_TRUE(cut.ok()) << cut.error().to_string();
    ASSERT_EQ(cut->stages.size(), 2u);
    ASSERT_EQ(cut->num_ranks(), 2u) << "no layer is shared by a GPU and cores";
    EXPECT_EQ(cut->stages[0].ranks[0].device, "cpu:0-1");
    EXPECT_EQ(cut->stages[1].ranks[0].device, "cuda:0");
    EXPECT_GT(cut->stages[1].num_layers, 1);
  }
}

// What is said about the split is obeyed; shares alone are those of stages.
TEST(OffloadPlan, GpusAndCoresShareLayersOnlyWhereThatIsAsked) {
  const std::vector<MachineDevice> both = {gpu(0, kGiB), processor("cpu:0-1")};
  PlanRequest request;
  request.split = SplitMode::kTensor;
  const auto group = choose_placed_plan(spec(), both, processor(), request, {std::nullopt, true});
  ASSERT_TRUE(group.ok()) << group.error().to_string();
  EXPECT_EQ(group->stages.size(), 1u);
  EXPECT_EQ(group->num_ranks(), 2u);
  request.split = SplitMode::kLayer;
  const auto stages = choose_placed_plan(spec(), both, processor(), request, {std::nullopt, true});
  ASSERT_TRUE(stages.ok()) << stages.error().to_string();
  EXPECT_EQ(stages->stages.size(), 2u);
  request.split.reset();
  request.shares = {5, 1};
  const auto shares = choose_placed_plan(spec(), both, processor(), request, {std::nullopt, true});
  ASSERT_TRUE(shares.ok()) << shares.error().to_string();
  EXPECT_EQ(layers_of(*shares), (std::vector<std::int32_t>{4, 2}));  // one each, then by shares
  EXPECT_EQ(shares->stages[0].ranks[0].device, "cuda:0");
}

TEST(OffloadPlan, WithoutGpusNothingIsPlaced) {
  const auto plan = choose_placed_plan(spec(), {processor()}, processor(), {}, {99});
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  EXPECT_EQ(layers_of(*plan), std::vector<std::int32_t>{6});
}

}  // namespace
}  // namespace tandem
