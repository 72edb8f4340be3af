// However a model is split over GPUs, and whatever else is in the batch: the logits of one GPU that
// does one thing at a time. With float activations, where splits and batches change only the order
// of additions; split_test.cpp derives the tolerance. Compiled for emulated and for real GPUs.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/cpu_runtime.h"
#include "support/cuda_gpus.h"
#include "support/near_tie.h"

namespace tandem::test {
namespace {

using Case = SplitCase;

std::unique_ptr<Runtime> start(const ReferenceModel& model, const SplitChoice& split) {
  RunChoice run;
  run.arithmetic = Arithmetic::kFloat;
  run.deadline_us = kPatienceUs;
  run.make_gpu_group = cuda_group_maker();
  run.make_gpu_link = cuda_link_maker();
  return start_on(model, split, run, cuda_device_maker(run.arithmetic)).value();
}

class CudaSplit : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!can_run_cuda(true)) GTEST_SKIP() << "no GPU here: nothing of this was run on one";
  }
};

TEST_P(CudaSplit, SameTextAndLogitsAsOneDevice) {
  const ReferenceModel model = load_reference(GetParam().model).value();
  const ReferencePrompt& prompt = model.prompts.at(1);
  const auto one = generate_greedily(*start(model, {"one", {{1}}}), prompt.tokens, 2);
  const auto split = generate_greedily(*start(model, GetParam().split), prompt.tokens, 2);
  ASSERT_TRUE(one.ok()) << one.error().to_string();
  ASSERT_TRUE(split.ok()) << split.error().to_string();
  const double tolerance = model.float_tolerance / 10;
  const auto vocabulary = static_cast<std::size_t>(model.spec.vocabulary_size);
  std::size_t compared = 0;  // tokens: all, or up to a near-tie
  for (bool same = true; same && compared < one->tokens.size(); ++compared) {
    same = one->tokens[compared] == split->tokens[compared];
    const float* row = one->logits.data() + compared * vocabulary;
    EXPECT_LE(row[one->tokens[compared]] - row[split->tokens[compared]],
              near_tie(prompt, tolerance))
        << "greedy token " << compared;
  }
  const auto end = static_cast<std::ptrdiff_t>(compared * vocabulary);
  EXPECT_LE(nmse({split->logits.begin(), split->logits.begin() + end},
                 {one->logits.begin(), one->logits.begin() + end}),
            tolerance);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& model : cuda_reference_names()) {
    const bool has_experts =
        model.find("moe") != std::string::npos || model.find("mixtral") != std::string::npos;
    for (const SplitChoice& split : cuda_splits()) {
      if (split.name == "one" || (split.by_expert && !has_experts)) continue;
      if (has_time_to_compare(model, split.name)) all.push_back({model, split});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Matrix, CudaSplit, testing::ValuesIn(cases()), [](const auto& param) {
  std::string name = param.param.model + "_" + param.param.split.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

class CudaBatches : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_run_cuda(true)) GTEST_SKIP() << "no GPU here: nothing of this was run on one";
  }

  const ReferenceModel model_ = load_reference("llama-yarn-f16").value();
};

// Two prompts of different lengths and two sequences that decode, in one step over blocks that are
// not in order, against each of them alone.
TEST_F(CudaBatches, GiveEachSequenceItsOwnLogits) {
  const auto runtime = start(model_, {"tensor2", {{1, 1}}});
  const std::int32_t block_tokens = runtime->plan().kv.block_tokens;
  const auto tokens = [](int sequence, std::int32_t count) {
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < count; ++i) ids.push_back((7 * i + 13 * sequence + 5) % 100);
    return ids;
  };
  const std::vector<std::int32_t> before = {0, 5, 3, 0};  // tokens in the cache
  const std::vector<std::int32_t> now = {9, 1, 1, 2};
  const std::vector<std::vector<std::int32_t>> blocks = {{6, 2}, {4}, {11}, {0}};
  const auto feed = [&](std::initializer_list<int> sequences, bool cached) {
    auto batch = std::make_shared<StepBatch>();
    for (const int s : sequences) {
      const auto i = static_cast<std::size_t>(s);
      const auto all = tokens(s, before[i] + now[i]);
      const auto middle = all.begin() + before[i];
      const std::vector<std::int32_t> part =
          cached ? std::vector(all.begin(), middle) : std::vector(middle, all.end());
      append_sequence(*batch, part, cached ? before[i] : before[i] + now[i], blocks[i],
                      block_tokens, true);
    }
    return runtime->step(batch).value();
  };
  (void)feed({1, 2}, true);
  const auto together = feed({0, 1, 2, 3}, false);
  for (int s = 0; s < 4; ++s) {
    const auto i = static_cast<std::size_t>(s);
    if (before[i] > 0) (void)feed({s}, true);
    const auto alone = feed({s}, false);
    EXPECT_LE(nmse({together.row(i).begin(), together.row(i).end()},
                   {alone.row(0).begin(), alone.row(0).end()}),
              model_.float_tolerance / 10)
        << "sequence " << s;
  }
}

}  // namespace
}  // namespace tandem::test
