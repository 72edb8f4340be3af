// What the runtime does with GPUs that can be observed and broken: emulated ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>

#include "base/clock.h"
#include "simt/hang.h"
#include "simt/host_waits.h"
#include "simt/runtime.h"
#include "support/cpu_runtime.h"
#include "support/cuda_gpus.h"

namespace tandem::test {
namespace {

const ReferenceModel& model() {
  static const ReferenceModel loaded = load_reference("llama-mqa-q8_0").value();
  return loaded;
}

std::unique_ptr<Runtime> start(const SplitChoice& split, bool gpus_exchange) {
  RunChoice run;
  if (gpus_exchange) run.make_gpu_group = cuda_group_maker();
  return start_on(model(), split, run, cuda_device_maker(run.arithmetic)).value();
}

std::int64_t num_graph_launches() {
  return simt::counters(0).graph_launches + simt::counters(1).graph_launches;
}

// Decode steps of a group of GPUs are graphs, from the second on; through host memory the host
// takes part in every layer. The sums are the same either way.
TEST(EmulatedRuntime, DecodesByGraphsWhereGpusExchangeAmongThemselves) {
  const SplitChoice split{"tensor2", {{1, 1}}};
  const auto& prompt = model().prompts.front().tokens;
  const std::int64_t before = num_graph_launches();
  const auto staged = generate_greedily(*start(split, false), prompt, 4);
  ASSERT_TRUE(staged.ok()) << staged.error().to_string();
  EXPECT_EQ(num_graph_launches(), before);
  const auto recorded = generate_greedily(*start(split, true), prompt, 4);
  ASSERT_TRUE(recorded.ok()) << recorded.error().to_string();
  EXPECT_GE(num_graph_launches(), before + 2 * 2);
  EXPECT_EQ(recorded->tokens, staged->tokens);
  EXPECT_EQ(recorded->logits, staged->logits);
}

TEST(EmulatedRuntime, OneGpuDecodesByGraphs) {
  const std::int64_t before = num_graph_launches();
  const auto greedy =
      generate_greedily(*start({"one", {{1}}}, true), model().prompts.front().tokens, 4);
  ASSERT_TRUE(greedy.ok()) << greedy.error().to_string();
  EXPECT_GE(num_graph_launches(), before + 2);
}

// Penalties and log-probabilities without all logits: what leaves the GPUs is what the host would
// have made of them. The ranks' parts of the vocabulary differ.
TEST(EmulatedRuntime, LogitsAreChangedAndSummedWhereTheyLie) {
  const auto runtime = start({"tensor2", {{2, 1}}}, true);
  auto batch = std::make_shared<StepBatch>();
  for (std::int32_t i = 0; i < 2; ++i) {
    append_sequence(*batch, {3 + i, 7, 11 + i}, 3, {i}, runtime->plan().kv.block_tokens, true);
  }
  const auto all = runtime->step(batch);
  ASSERT_TRUE(all.ok()) << all.error().to_string();
  const auto vocabulary = static_cast<std::int32_t>(all->vocabulary_size);
  auto asked = std::make_shared<StepBatch>(*batch);
  asked->output_candidates = {0, 8};
  asked->output_log_sums = true;
  const std::vector<float> before(all->row(1).begin(), all->row(1).end());
  std::vector<float> after = before;
  for (std::int32_t token = 0; token < vocabulary; token += 5) {
    const LogitChange change{1, token, 0.5f, 1.25f, 0.125f * static_cast<float>(token % 3)};
    asked->logit_changes.push_back(change);
    float& logit = after[static_cast<std::size_t>(token)];
    logit += change.add;
    logit = logit <= 0 ? logit * change.repeat : logit / change.repeat;
    logit -= change.lower;
  }
  const auto some = runtime->step(asked);
  ASSERT_TRUE(some.ok()) << some.error().to_string();
  EXPECT_TRUE(std::ranges::equal(some->row(0), all->row(0))) << "a row that nobody changed";
  ASSERT_EQ(some->best(1).size(), 8u);
  std::vector<float> sorted = after;
  std::ranges::sort(sorted, std::greater<>());
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(some->best(1)[i].logit, sorted[i]);
    EXPECT_EQ(some->best(1)[i].logit, after[static_cast<std::size_t>(some->best(1)[i].token)]);
  }
  double sum = 0;
  for (const float logit : before) sum += std::exp(double(logit));
  EXPECT_NEAR(some->log_sum(1), std::log(sum), 1e-5);
}

// What is summed beside arithmetic, in ragged parts, has the bits of what is summed as a whole: in
// models with norms behind the sums and with experts, with ranks that hold no heads, and recorded
// as a graph.
TEST(EmulatedRuntime, SumsBesideArithmeticChangeNoBit) {
  struct Case {
    const char* model;
    SplitChoice split;
  };
  const Case cases[] = {{"llama-mqa-q8_0", {"tensor2", {{1, 1}}}},
                        {"gemma3-f16", {"uneven3", {{3, 1, 2}}}},
                        {"qwen3moe-q4_0", {"tensor2", {{2, 1}}}},
                        {"llama-mqa-q8_0", {"idle", {{100, 1, 100}}}}};
  for (const Case& one : cases) {
    const ReferenceModel loaded = load_reference(one.model).value();
    std::vector<std::int32_t> prompt = loaded.prompts.back().tokens;
    prompt.resize(std::min<std::size_t>(prompt.size(), 22));
    std::vector<float> logits[2];
    std::int64_t kernels[2] = {};
    for (const std::int64_t overlap_rows : {0, 9}) {  // 9, 9 and 4
      RunChoice run;
      run.micro_batch_tokens = 64;
      run.make_gpu_group = cuda_group_maker(overlap_rows);
      auto runtime = start_on(loaded, one.split, run, cuda_device_maker(run.arithmetic)).value();
      const std::int64_t before = simt::counters(0).kernels;
      for (int i = 0; i < 2; ++i) {  // the second time it is recorded
        const auto greedy = generate_greedily(*runtime, prompt, 2);
        ASSERT_TRUE(greedy.ok()) << greedy.error().to_string();
        auto& all = logits[overlap_rows > 0];
        all.insert(all.end(), greedy->logits.begin(), greedy->logits.end());
      }
      kernels[overlap_rows > 0] = simt::counters(0).kernels - before;
    }
    EXPECT_EQ(logits[1], logits[0]) << one.model << ' ' << one.split.name;
    EXPECT_GT(kernels[1], kernels[0]) << "nothing was done in parts";
  }
}

TEST(EmulatedRuntime, AGpuThatFailsBesideArithmeticIsNamed) {
  RunChoice run;
  run.micro_batch_tokens = 64;
  run.make_gpu_group = cuda_group_maker(9);
  auto runtime = start_on(model(), {"tensor2", {{1, 1}}}, run, cuda_device_maker(run.arithmetic));
  ASSERT_TRUE(runtime.ok()) << runtime.error().to_string();
  std::vector<std::int32_t> prompt = model().prompts.back().tokens;
  prompt.resize(std::min<std::size_t>(prompt.size(), 30));
  simt::inject_error(1, cudaErrorECCUncorrectable, 40);
  const auto failed = generate_greedily(**runtime, prompt, 4);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kDeviceFailed) << failed.error().to_string();
  EXPECT_NE(failed.error().to_string().find("cuda:1"), std::string::npos);
  runtime->reset();
  simt::clear_errors();
}

// An ECC error of one GPU: the error says which and in which step, and nobody is left waiting.
TEST(EmulatedRuntime, AGpuThatFailsIsNamedWithItsStep) {
  auto runtime = start({"tensor2", {{1, 1}}}, true);
  const auto& prompt = model().prompts.front().tokens;
  ASSERT_TRUE(generate_greedily(*runtime, prompt, 2).ok());
  simt::inject_error(1, cudaErrorECCUncorrectable, 30);
  const auto failed = generate_greedily(*runtime, prompt, 4);
  ASSERT_FALSE(failed.ok());
  const std::string text = failed.error().to_string();
  EXPECT_EQ(failed.error().code, ErrorCode::kDeviceFailed) << text;
  EXPECT_NE(text.find("cuda:1"), std::string::npos) << text;
  EXPECT_NE(text.find("cudaErrorECCUncorrectable"), std::string::npos) << text;
  EXPECT_NE(text.find("in step "), std::string::npos) << text;
  runtime.reset();
  simt::clear_errors();
  EXPECT_TRUE(generate_greedily(*start({"one", {{1}}}, true), prompt, 1).ok());
}

// A GPU that hangs: whoever waits for the step is told after the deadline, the other GPU's kernels,
// which poll for what never comes, end too, and so does the runtime once the GPU comes back.
TEST(EmulatedRuntime, AGpuThatHangsEndsTheStepAtTheDeadline) {
  constexpr std::int64_t kDeadlineUs = 3'000'000;  // a busy machine's healthy steps need less
  for (const SplitChoice& split :
       {SplitChoice{"tensor2", {{1, 1}}}, SplitChoice{"pipeline2", {{1}, {1}}}}) {
    for (const int hanging : {0, 1}) {
      SCOPED_TRACE(split.name + ", GPU " + std::to_string(hanging));
      RunChoice run;
      run.deadline_us = kDeadlineUs;
      run.make_gpu_group = cuda_group_maker();
      run.make_gpu_link = cuda_link_maker();
      auto runtime = start_on(model(), split, run, cuda_device_maker(run.arithmetic)).value();
      const auto& prompt = model().prompts.front().tokens;
      ASSERT_TRUE(generate_greedily(*runtime, prompt, 2).ok());
      simt::inject_hang(hanging, 20);
      const std::int64_t began = monotonic_us();
      const auto failed = generate_greedily(*runtime, prompt, 4);
      const std::int64_t waited = monotonic_us() - began;
      ASSERT_FALSE(failed.ok());
      EXPECT_EQ(failed.error().code, ErrorCode::kDeadline) << failed.error().to_string();
      EXPECT_GE(waited, kDeadlineUs);
      EXPECT_LT(waited, 20 * kDeadlineUs);
      std::thread helper([] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        simt::release_hangs();
      });
      runtime.reset();
      helper.join();
    }
  }
}

struct HostCosts {
  std::int64_t allocations = 0;  // of device and page-locked memory
  std::int64_t waits = 0;        // for a GPU
  std::int64_t idle_answers = 0;
  std::int64_t steps = 0;  // of all ranks
};

HostCosts host_costs(const Runtime& runtime) {
  HostCosts costs;
  for (const int gpu : {0, 1}) {
    const simt::Counters counters = simt::counters(gpu);
    const simt::HostCosts host = simt::host_costs(gpu);
    costs.allocations += counters.allocations + host.allocations;
    costs.waits += host.waits;
    costs.idle_answers += host.idle_answers;
  }
  for (const RankTimes& times : runtime.times()) costs.steps += times.num_steps;
  return costs;
}

// Prompts and decode steps alike, once memory has grown to them: nothing is allocated, and the host
// waits for a GPU once a step and rank, at its end.
TEST(EmulatedRuntime, AStepAllocatesNothingAndTheHostWaitsOnlyAtItsEnd) {
  std::vector<std::int32_t> prompt = model().prompts.back().tokens;
  prompt.resize(std::min<std::size_t>(prompt.size(), 22));
  for (const SplitChoice& split : {SplitChoice{"one", {{1}}}, SplitChoice{"tensor2", {{1, 1}}},
                                   SplitChoice{"stages", {{1}, {1, 1}}}}) {
    RunChoice run;
    run.micro_batch_tokens = 64;
    run.make_gpu_group = cuda_group_maker(9);  // sums beside arithmetic too
    run.make_gpu_link = cuda_link_maker();
    const auto runtime = start_on(model(), split, run, cuda_device_maker(run.arithmetic)).value();
    // The second time graphs are recorded for what the first has seen.
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(generate_greedily(*runtime, prompt, 4).ok());
    const HostCosts before = host_costs(*runtime);
    ASSERT_TRUE(generate_greedily(*runtime, prompt, 4).ok());
    const HostCosts after = host_costs(*runtime);
    EXPECT_EQ(after.allocations, before.allocations) << split.name;
    EXPECT_EQ(after.waits, before.waits) << split.name;
    EXPECT_GE(after.steps - before.steps, 4) << split.name;
    EXPECT_EQ(after.idle_answers - before.idle_answers, after.steps - before.steps) << split.name;
  }
}

// After an illegal access CUDA lets a process do nothing more with a GPU: ranks that are made anew
// fail at once, by the GPU's failure and not for want of memory.
TEST(EmulatedRuntime, AnIllegalAccessLosesTheGpuToTheProcess) {
  auto runtime = start({"one", {{1}}}, true);
  simt::inject_error(0, cudaErrorIllegalAddress, 10);
  const auto failed = generate_greedily(*runtime, model().prompts.front().tokens, 2);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kDeviceFailed);
  runtime.reset();
  CudaDeviceOptions options;
  options.arena_bytes = 1 << 20;
  const auto again = create_cuda_device("cuda:0", options);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, ErrorCode::kDeviceFailed) << again.error().to_string();
  EXPECT_NE(again.error().to_string().find("cuda:0"), std::string::npos);
  EXPECT_NE(again.error().to_string().find("cudaErrorIllegalAddress"), std::string::npos);
  simt::clear_errors();
}

// Memory that is wanting ends the step and its ranks, which say where; ranks that are made anew in
// the same process serve again.
TEST(EmulatedRuntime, WantOfMemoryIsSurvived) {
  auto runtime = start({"one", {{1}}}, true);
  simt::inject_allocation_failure(0, 0);
  const auto& prompt = model().prompts.front().tokens;
  const auto failed = generate_greedily(*runtime, prompt, 2);
  ASSERT_FALSE(failed.ok());
  const std::string text = failed.error().to_string();
  EXPECT_EQ(failed.error().code, ErrorCode::kOutOfMemory) << text;
  EXPECT_NE(text.find("cuda:0"), std::string::npos) << text;
  EXPECT_NE(text.find("in step 0"), std::string::npos) << text;
  runtime.reset();
  EXPECT_TRUE(generate_greedily(*start({"one", {{1}}}, true), prompt, 2).ok());
}

// Two prompts in one step: of the first only the best logits are wanted, and only these leave the
// GPUs; they are those that all logits would have had.
TEST(EmulatedRuntime, OnlyTheBestLogitsLeaveTheGpusWhereTheyWillDo) {
  constexpr std::int32_t kBest = 5;
  const auto runtime = start({"tensor2", {{2, 1}}}, true);
  const Plan& plan = runtime->plan();
  auto batch = std::make_shared<StepBatch>();
  for (std::int32_t i = 0; i < 2; ++i) {
    const std::vector<std::int32_t> ids = {3 + i, 7, 11 + i};
    append_sequence(*batch, ids, 3, {i}, plan.kv.block_tokens, true);
  }
  const auto all = runtime->step(batch);
  ASSERT_TRUE(all.ok()) << all.error().to_string();
  for (const std::vector<std::int32_t>& wanted : {std::vector{kBest, 0}, std::vector{kBest, 1}}) {
    auto asked = std::make_shared<StepBatch>(*batch);
    asked->output_candidates = wanted;
    const auto some = runtime->step(asked);
    ASSERT_TRUE(some.ok()) << some.error().to_string();
    std::vector<float> sorted(all->row(0).begin(), all->row(0).end());
    std::ranges::sort(sorted, std::greater<>());
    const auto best = some->best(0);
    ASSERT_EQ(best.size(), static_cast<std::size_t>(kBest));
    for (std::size_t i = 0; i < best.size(); ++i) {
      EXPECT_EQ(best[i].logit, sorted[i]);
      EXPECT_EQ(best[i].logit, all->row(0)[static_cast<std::size_t>(best[i].token)]);
    }
    if (wanted[1] == 0) {
      EXPECT_TRUE(some->best(1).empty());
      EXPECT_TRUE(std::ranges::equal(some->row(1), all->row(1)));
    } else {
      EXPECT_TRUE(some->logits.empty()) << "logits that nobody wanted";
      EXPECT_EQ(some->best(1).size(), 1u);
    }
  }
}

// From one GPU to a group of two, by peer access, by page-locked memory and with the host waiting
// at each end: hidden states are the same.
TEST(EmulatedRuntime, StagesPassTheSameBitsByEveryWay) {
  const std::vector<std::int32_t>& prompt = model().prompts.back().tokens;
  const std::vector<std::int32_t> some(
      prompt.begin(), prompt.begin() + std::min<std::ptrdiff_t>(40, std::ssize(prompt)));
  std::vector<std::vector<float>> logits;
  for (const GpuLinkMaker& make_link : {GpuLinkMaker(), cuda_link_maker(), cuda_link_maker(true)}) {
    RunChoice run;
    run.micro_batch_tokens = 9;  // several on their way at once
    run.make_gpu_group = cuda_group_maker();
    run.make_gpu_link = make_link;
    const auto runtime =
        start_on(model(), {"stages", {{1}, {1, 1}}}, run, cuda_device_maker(run.arithmetic));
    ASSERT_TRUE(runtime.ok()) << runtime.error().to_string();
    const auto greedy = generate_greedily(**runtime, some, 3);
    ASSERT_TRUE(greedy.ok()) << greedy.error().to_string();
    logits.push_back(greedy->logits);
    EXPECT_EQ(logits.back(), logits.front());
  }
}

// A GPU of a stage that others wait for: they do not wait for ever, and the error names it.
TEST(EmulatedRuntime, AGpuOfAnotherStageThatFailsIsNamed) {
  for (const int failing : {0, 1}) {
    RunChoice run;
    run.make_gpu_group = cuda_group_maker();
    run.make_gpu_link = cuda_link_maker();
    auto runtime =
        start_on(model(), {"pipeline2", {{1}, {1}}}, run, cuda_device_maker(run.arithmetic));
    ASSERT_TRUE(runtime.ok()) << runtime.error().to_string();
    const auto& prompt = model().prompts.front().tokens;
    ASSERT_TRUE(generate_greedily(**runtime, prompt, 2).ok());
    simt::inject_error(failing, cudaErrorECCUncorrectable, 20);
    const auto failed = generate_greedily(**runtime, prompt, 4);
    ASSERT_FALSE(failed.ok());
    const std::string text = failed.error().to_string();
    EXPECT_EQ(failed.error().code, ErrorCode::kDeviceFailed) << text;
    EXPECT_NE(text.find("cuda:" + std::to_string(failing)), std::string::npos) << text;
    runtime->reset();
    simt::clear_errors();
  }
}

// Layers that a GPU has no room for: stages of one plan on the processor and on GPUs.
TEST(EmulatedRuntime, StagesOnTheProcessorAndOnGpusMakeOneModel) {
  RunChoice run;
  run.make_gpu_group = cuda_group_maker();
  run.make_gpu_link = cuda_link_maker();
  const auto make_device = [&](int index) -> Result<std::unique_ptr<Device>> {
    if (index > 0) return cuda_device_maker(run.arithmetic)(index);
    CpuDeviceOptions options;
    options.cores = {0};
    options.pin_threads = false;
    return create_cpu_device("cpu:0", options);
  };
  auto runtime = start_on(model(), {"offload", {{1}, {1, 1}}}, run, make_device);
  ASSERT_TRUE(runtime.ok()) << runtime.error().to_string();
  const ReferencePrompt& prompt = model().prompts.front();
  const auto logits = logits_of(**runtime, prompt.tokens, prompt.exact_positions);
  ASSERT_TRUE(logits.ok()) << logits.error().to_string();
  EXPECT_LE(nmse(*logits, prompt.exact.values), model().int8_tolerance);
}

}  // namespace
}  // namespace tandem::test
