#include "plan/prefill_time.h"

#include <gtest/gtest.h>

#include "plan/machine_text.h"
#include "plan/planned_models.h"

namespace tandem {
namespace {

TEST(UnhiddenReduction, IsWhatTheLongerOfBothLeaves) {
  // As a whole it waits for all of the product.
  EXPECT_DOUBLE_EQ(unhidden_reduction_s(3, 10, 1), 3);
  // Beside a long product only the last part's sum is left, beside a short one what is longer, and
  // the first part's product, which has nothing beside it.
  EXPECT_DOUBLE_EQ(unhidden_reduction_s(3, 10, 2), 1.5);
  EXPECT_DOUBLE_EQ(unhidden_reduction_s(10, 3, 2), 10 - 3 * 0.5);
  for (const double sum : {0.0, 1.0, 4.0, 9.0}) {
    for (const double product : {0.0, 1.0, 4.0, 9.0}) {
      for (int parts = 1; parts <= 4; ++parts) {
        const double together = std::max(sum, product) + std::min(sum, product) / parts;
        EXPECT_DOUBLE_EQ(product + unhidden_reduction_s(sum, product, parts), together);
      }
    }
  }
}

TEST(ReductionParts, AreLargeAndFew) {
  EXPECT_EQ(reduction_parts(512, 4096 * 4, 1), 1) << "an engine that does not";
  EXPECT_EQ(reduction_parts(512, 4096 * 4, 4), 2);
  EXPECT_EQ(reduction_parts(512, 8192 * 4, 4), 2) << "parts of 192 rows at least";
  EXPECT_EQ(reduction_parts(512, 1024 * 4, 4), 1) << "2 MiB in all";
  EXPECT_EQ(reduction_parts(256, 8192 * 4, 4), 1) << "a micro-batch of stages";
  EXPECT_EQ(reduction_parts(4096, 8192 * 4, 4), 4);
  EXPECT_EQ(reduction_parts(1, 8192 * 4, 4), 1);
}

// Seconds of a prompt of 512 tokens on two GPUs as a tensor group, with reductions in up to
// `parts`.
double prompt_s(const char* link, int parts, const char* model = "llama-3-8b",
                const char* quant = "q4_k_m", double* alone = nullptr) {
  EngineProfile engine = **find_engine("tandem");
  engine.backends["cuda"].reduce_parts = parts;
  const auto machine = machine_from_text({{"2x RTX 3090"}, link, false});
  const auto bench = bench_of(*machine, engine);
  const auto planned = plannable_model(model, quant);
  const ModelCosts costs(planned->spec, ElementType::kF16);
  const std::int32_t layers = costs.num_layers();
  const Sketch sketch = {{0, layers, {0, 1}, {0.5, 0.5}}};
  if (alone != nullptr) {
    const Sketch one = {{0, layers, {0}, {1.0}}};
    *alone = estimate_time(costs, one, *bench, {}).prefill_s;
  }
  return estimate_time(costs, sketch, *bench, {}).prefill_s;
}

TEST(Prefill, ReductionsHideBehindProductsOnGpus) {
  double alone = 0;
  const double in_full = prompt_s("pcie4x16", 1, "llama-3-8b", "q4_k_m", &alone);
  const double beside = prompt_s("pcie4x16", 4);
  EXPECT_LT(beside, in_full);
  EXPECT_GT(beside, alone / 2) << "the arithmetic itself stays";
  // At best half of what is summed is hidden in two parts.
  EXPECT_GT(beside, alone / 2 + (in_full - alone / 2) / 2);
  // The profile has it so.
  EXPECT_DOUBLE_EQ(prompt_s("pcie4x16", (*find_engine("tandem"))->backend("cuda").reduce_parts),
                   beside);
}

// Over NVLink there is less to gain, and never a loss: parts that do not pay are not made.
TEST(Prefill, PartsThatDoNotPayAreNotMade) {
  for (const char* link : {"nvlink3", "pcie4x16", "pcie3x4"}) {
    EXPECT_LE(prompt_s(link, 4), prompt_s(link, 1)) << link;
  }
  const double gain = prompt_s("pcie4x16", 1) - prompt_s("pcie4x16", 4);
  EXPECT_LT(prompt_s("nvlink3", 1) - prompt_s("nvlink3", 4), gain);
}

// Sums of experts stay whole: the attention half alone is cut.
TEST(Prefill, SumsOfExpertsCountInFull) {
  double alone = 0;
  const double in_full = prompt_s("pcie4x16", 1, "qwen3-30b-a3b", "q4_k_m", &alone);
  const double beside = prompt_s("pcie4x16", 4, "qwen3-30b-a3b", "q4_k_m");
  EXPECT_LT(beside, in_full);
  EXPECT_GT(beside, in_full - (in_full - alone / 2) / 4);
}

}  // namespace
}  // namespace tandem
