// Every reference model against the exact logits of an independent float64 forward pass: on the
// fast paths at the model's int8 tolerance, with float activations at its float tolerance, on one
// device and split in several ways; and 16 greedy tokens through the KV cache.
#include <gtest/gtest.h>

#include <iostream>

#include "support/cpu_runtime.h"
#include "support/near_tie.h"

namespace tandem::test {
namespace {

const std::vector<SplitChoice>& splits() {
  static const std::vector<SplitChoice> all = {
      {"one", {{1}}},
      {"tensor2", {{1, 1}}},
      {"tensor3", {{1, 1, 1}}},
      {"tensor5", {{1, 1, 1, 1, 1}}},
      {"tensor8", {{1, 1, 1, 1, 1, 1, 1, 1}}},
      {"uneven", {{3, 1}}},
      {"pipeline2", {{1}, {1}}},
      {"hybrid2x2", {{1, 1}, {1, 1}}},
      {"hybrid3and1", {{2, 1, 1}, {2}}},
      {"experts2", {{1, 1}}, true},
  };
  return all;
}

void check_model(const ReferenceModel& model, const SplitChoice& split, const RunChoice& run,
                 double tolerance) {
  auto runtime = start_on_cpu(model, split, run);
  ASSERT_TRUE(runtime.ok()) << runtime.error().to_string();
  for (const ReferencePrompt& prompt : model.prompts) {
    const auto logits = logits_of(**runtime, prompt.tokens, prompt.exact_positions);
    ASSERT_TRUE(logits.ok()) << logits.error().to_string();
    const double error = nmse(*logits, prompt.exact.values);
    EXPECT_LE(error, tolerance) << prompt.name;
    const auto greedy = generate_greedily(**runtime, prompt.tokens, 16);
    ASSERT_TRUE(greedy.ok()) << greedy.error().to_string();
    expect_greedy(prompt, greedy->tokens, tolerance);
    std::cout << model.name << ' ' << split.name << ' ' << prompt.name << " NMSE " << error
              << " (tolerance " << tolerance << ")\n";
  }
}

class ReferenceLogits : public testing::TestWithParam<std::string> {
 protected:
  void run_all(const RunChoice& run, bool is_float) {
    const auto model = load_reference(GetParam());
    ASSERT_TRUE(model.ok()) << model.error().to_string();
    for (const SplitChoice& split : splits()) {
      const bool has_experts = model->spec.feed_forward.num_experts > 0;
      if (split.by_expert && !has_experts) continue;
      if (split.stages.size() > static_cast<std::size_t>(model->spec.num_layers)) continue;
      SCOPED_TRACE(split.name);
      check_model(*model, split, run, is_float ? model->float_tolerance : model->int8_tolerance);
    }
  }
};

TEST_P(ReferenceLogits, FastPathOnEverySplit) {
  run_all({}, false);
}

TEST_P(ReferenceLogits, FloatPathOnEverySplit) {
  RunChoice run;
  run.arithmetic = Arithmetic::kFloat;
  run.instruction_set = "portable";
  run_all(run, true);
}

TEST_P(ReferenceLogits, OtherInstructionSets) {
  const auto model = load_reference(GetParam());
  ASSERT_TRUE(model.ok()) << model.error().to_string();
  for (const char* set : {"portable", "avx2"}) {
    SCOPED_TRACE(set);
    RunChoice run;
    run.instruction_set = set;
    check_model(*model, splits()[0], run, model->int8_tolerance);
    check_model(*model, splits()[2], run, model->int8_tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceLogits, testing::ValuesIn(reference_names()),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ReferenceModels, AreAllHere) {
  if (!has_all_references()) {
    GTEST_SKIP() << "only the repository's own selection of reference models is checked";
  }
  EXPECT_GE(reference_names().size(), 38u);
}

}  // namespace
}  // namespace tandem::test
