// The reference models on CUDA devices: the tolerances and rules of reference_test and split_test.
// The same source is built twice: for the emulated GPU, which runs in ./check, and for real ones,
// where a machine without a GPU skips every case and says so.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "support/cpu_runtime.h"
#include "support/cuda_gpus.h"
#include "support/near_tie.h"

namespace tandem::test {
namespace {

using Case = SplitCase;

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& model : cuda_reference_names()) {
    const bool has_experts =
        model.find("moe") != std::string::npos || model.find("mixtral") != std::string::npos;
    for (const SplitChoice& split : cuda_splits()) {
      if (split.by_expert && !has_experts) continue;
      if (has_time_for(model, split.name)) all.push_back({model, split});
    }
  }
  return all;
}

class CudaReference : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto& split = GetParam().split.stages;
    if (!can_run_cuda(split.size() > 1 || split[0].size() > 1)) {
      GTEST_SKIP() << "no GPU here: nothing of this was run on one";
    }
  }
};

// Logits within the model's tolerance, the greedy text, and the same bits when repeated.
TEST_P(CudaReference, LogitsTextAndRepetition) {
  const auto model = load_reference(GetParam().model);
  ASSERT_TRUE(model.ok()) << model.error().to_string();
  for (const Arithmetic arithmetic : {Arithmetic::kInt8, Arithmetic::kFloat}) {
    const bool is_exact = arithmetic == Arithmetic::kFloat;
    if (is_exact && !has_time_for_float(GetParam().split.name)) continue;
    const double tolerance = is_exact ? model->float_tolerance : model->int8_tolerance;
    RunChoice run;
    run.arithmetic = arithmetic;
    run.deadline_us = kPatienceUs;
    run.make_gpu_group = cuda_group_maker();
    run.make_gpu_link = cuda_link_maker();
    auto runtime = start_on(*model, GetParam().split, run, cuda_device_maker(arithmetic));
    ASSERT_TRUE(runtime.ok()) << runtime.error().to_string();
    const std::size_t num_prompts =
        std::min(cuda_num_prompts(arithmetic, GetParam().split.name), model->prompts.size());
    for (std::size_t i = 0; i < num_prompts; ++i) {
      const ReferencePrompt& prompt = model->prompts[i];
      const auto logits = logits_of(**runtime, prompt.tokens, prompt.exact_positions);
      ASSERT_TRUE(logits.ok()) << logits.error().to_string();
      const double error = nmse(*logits, prompt.exact.values);
      EXPECT_LE(error, tolerance) << prompt.name;
      std::cout << model->name << ' ' << GetParam().split.name << ' ' << prompt.name << " NMSE "
                << error << " (tolerance " << tolerance << ")\n";
    }
    const ReferencePrompt& prompt = model->prompts[num_prompts - 1];
    const auto greedy = generate_greedily(**runtime, prompt.tokens, 6);
    ASSERT_TRUE(greedy.ok()) << greedy.error().to_string();
    expect_greedy(prompt, greedy->tokens, tolerance);
    if (is_exact) continue;  // nobody decodes so but tests
    const auto again = generate_greedily(**runtime, prompt.tokens, 6);
    ASSERT_TRUE(again.ok()) << again.error().to_string();
    EXPECT_EQ(greedy->logits, again->logits) << "not the same bits";
  }
}

INSTANTIATE_TEST_SUITE_P(Matrix, CudaReference, testing::ValuesIn(cases()), [](const auto& param) {
  std::string name = param.param.model + "_" + param.param.split.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(CudaReferenceCases, HaveEverySplit) {
  for (const SplitChoice& split : cuda_splits()) {
    EXPECT_TRUE(std::ranges::any_of(cases(), [&](const Case& one) {
      return one.split.name == split.name;
    })) << split.name;
  }
}

}  // namespace
}  // namespace tandem::test
