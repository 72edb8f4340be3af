// Plans executed on emulated GPUs and cores as the program does it: where layers are placed, and
// what is allocated beside what the plan says.
#include <gtest/gtest.h>

#include <algorithm>

#include "plan/offload.h"
#include "plan/rank_bytes.h"
#include "simt/runtime.h"
#include "support/cpu_runtime.h"
#include "support/cuda_gpus.h"
#include "support/near_tie.h"

namespace tandem::test {
namespace {

constexpr double kShare = 0.03;  // of what is planned

// Only small models leave a trace of every part: with large ones weights would hide the rest.
PlanRequest small_request() {
  PlanRequest request;
  request.context_tokens = 256;
  request.max_sequences = 2;
  request.max_batch_tokens = 64;
  request.max_output_rows = 4;
  return request;
}

MachineDevice machine_gpu(int index) {
  MachineDevice device;
  device.id = "cuda:" + std::to_string(index);
  device.kind = MachineDeviceKind::kGpu;
  return device;
}

MachineDevice machine_cpu() {
  MachineDevice device;
  device.id = "cpu:0";
  device.kind = MachineDeviceKind::kCpu;
  device.cores = {0};
  return device;
}

Result<std::unique_ptr<Device>> open(const ModelSpec& spec, const Plan& plan, const RankPlan& rank,
                                     bool in_arena) {
  if (!is_gpu(rank.device)) {
    CpuDeviceOptions options;
    options.cores = {0};
    options.pin_threads = false;
    return create_cpu_device(rank.device, options);
  }
  CudaDeviceOptions options;
  options.gpu_index = rank.device.back() - '0';
  options.arena_bytes = in_arena ? rank.total_bytes() : 0;
  options.scratch_bytes = gpu_scratch_bytes_of(spec, rank.shard, step_limits_of(plan));
  return create_cuda_device(rank.device, options);
}

std::unique_ptr<Runtime> start(const ReferenceModel& model, const Plan& plan, bool in_arena) {
  std::vector<std::unique_ptr<Device>> devices;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      devices.push_back(open(model.spec, plan, rank, in_arena).value());
    }
  }
  auto runtime = create_runtime(plan, model.spec, model.file, std::move(devices), {},
                                cuda_group_maker(), cuda_link_maker());
  EXPECT_TRUE(runtime.ok()) << runtime.error().to_string();
  return std::move(runtime).value();
}

// The first layers on cores, the last on two GPUs: the text of the reference.
TEST(CudaPlan, LayersThatAreLeftToTheProcessorMakeTheSameText) {
  const auto model = load_reference("llama-mqa-q8_0").value();
  const std::vector<MachineDevice> gpus = {machine_gpu(0), machine_gpu(1)};
  const std::int32_t on_gpus = model.spec.num_layers - 1;
  const auto plan = choose_placed_plan(model.spec, gpus, machine_cpu(), small_request(),
                                       {.gpu_layers = on_gpus, .devices_are_named = true});
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  ASSERT_EQ(plan->stages.size(), 2u);
  EXPECT_EQ(plan->stages[0].ranks[0].device, "cpu:0");
  EXPECT_EQ(plan->stages[1].num_layers, on_gpus);
  const auto runtime = start(model, *plan, true);
  const ReferencePrompt& prompt = model.prompts.front();
  const auto greedy = generate_greedily(*runtime, prompt.tokens, 8);
  ASSERT_TRUE(greedy.ok()) << greedy.error().to_string();
  expect_greedy(prompt, greedy->tokens, model.int8_tolerance);
}

struct MemoryCase {
  const char* model;
  int num_gpus;
  bool by_expert = false;
  bool in_stages = false;
};

class CudaPlanMemory : public testing::TestWithParam<MemoryCase> {
 protected:
  // A prefill of as many tokens as there may be, and a decode.
  static void run_steps(Runtime& runtime, const ReferenceModel& model) {
    std::vector<std::int32_t> prompt = model.prompts.back().tokens;
    prompt.resize(std::min<std::size_t>(prompt.size(), 64));
    ASSERT_TRUE(generate_greedily(runtime, prompt, 2).ok());
  }
};

// Every kind of block, with splits that leave rows and columns to be filled up. Without an arena
// each buffer is an allocation of its own, which shows what is really needed; with one as large as
// the plan says nothing is allocated beside it.
TEST_P(CudaPlanMemory, IsWhatThePlanSays) {
  const MemoryCase& one = GetParam();
  const auto model = load_reference(one.model).value();
  std::vector<MachineDevice> gpus;
  for (int i = 0; i < one.num_gpus; ++i) gpus.push_back(machine_gpu(i));
  PlanRequest request = small_request();
  request.split_by_expert = one.by_expert;
  if (one.in_stages) request.split = SplitMode::kLayer;
  if (one.num_gpus > 1) request.shares = {3, 1};
  const auto plan = choose_plan(model.spec, gpus, request);
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  const std::int64_t before[] = {simt::counters(0).live_bytes, simt::counters(1).live_bytes};
  const auto expect_planned = [&](double share, const char* how) {
    for (const StagePlan& stage : plan->stages) {
      for (const RankPlan& rank : stage.ranks) {
        const int gpu = rank.device.back() - '0';
        const auto said = static_cast<double>(rank.total_bytes());
        const auto took = static_cast<double>(simt::counters(gpu).live_bytes - before[gpu]);
        EXPECT_NEAR(took, said, share * said) << rank.device << ' ' << how;
        std::printf("  %s %s: plan %.0f, allocated %.0f (%+.2f %%)\n", rank.device.c_str(), how,
                    said, took, 100 * (took / said - 1));
      }
    }
  };
  auto runtime = start(model, *plan, false);
  run_steps(*runtime, model);
  expect_planned(kShare, "buffer by buffer");
  runtime.reset();
  runtime = start(model, *plan, true);
  run_steps(*runtime, model);
  expect_planned(0, "in one arena");
}

INSTANTIATE_TEST_SUITE_P(Models, CudaPlanMemory,
                         testing::Values(MemoryCase{"mistral-q4_k_m", 1},
                                         MemoryCase{"gemma3-f16", 2},
                                         MemoryCase{"llama-odd-q4_0", 2},
                                         MemoryCase{"mistral-q4_k_m", 2, false, true},
                                         MemoryCase{"qwen3moe-q4_0", 2, true}),
                         [](const auto& param) {
                           std::string name = param.param.model;
                           if (param.param.in_stages) name += "_stages";
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tandem::test
