#include "plan/planned_models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/layout.h"

namespace tandem {
namespace {

struct Published {
  const char* model;
  const char* quant;
  double gigabytes;  // of the file, 1e9
  double share;      // that the prediction may be off by
};

// Sizes of published GGUF files, tokenizer and header (some MB) included: unsloth/DeepSeek-R1-GGUF,
// bartowski/DeepSeek-V2.5-GGUF, bartowski/DeepSeek-Coder-V2-Lite-Instruct-GGUF.
TEST(PlannedModels, DeepSeekFilesComeOutAsPublished) {
  for (const Published& file : {Published{"deepseek-r1", "q8_0", 713.3, 0.01},
                                Published{"deepseek-r1", "q4_k_m", 404.4, 0.02},
                                Published{"deepseek-v2", "q4_k_m", 142.5, 0.02},
                                Published{"deepseek-v2-lite", "q8_0", 16.7, 0.01}}) {
    const auto model = plannable_model(file.model, file.quant);
    ASSERT_TRUE(model.ok()) << model.error().to_string();
    const double bytes = static_cast<double>(model->spec.weight_bytes());
    EXPECT_NEAR(bytes / 1e9, file.gigabytes, file.share * file.gigabytes)
        << file.model << " " << file.quant;
  }
}

TEST(PlannedModels, ParametersAsTheModelCardsSay) {
  EXPECT_NEAR(static_cast<double>(plannable_model("deepseek-v3", "f16")->spec.num_parameters()),
              671.0e9, 1e9);
  EXPECT_NEAR(static_cast<double>(plannable_model("deepseek-v2", "f16")->spec.num_parameters()),
              235.7e9, 1e9);
  EXPECT_NEAR(static_cast<double>(plannable_model("glm-4.5-air", "f16")->spec.num_parameters()),
              106.9e9, 2e9);
  EXPECT_NEAR(static_cast<double>(plannable_model("kimi-k2", "f16")->spec.num_parameters()), 1026e9,
              10e9);
}

// 512 + 64 elements of two bytes in each of 61 layers, on every rank of a tensor group.
TEST(PlannedModels, LatentAttentionKeepsOneVectorAPosition) {
  const auto model = plannable_model("deepseek-v3", "q4_k_m");
  ASSERT_TRUE(model.ok());
  LayoutRequest request;
  for (int i = 0; i < 8; ++i) {
    if (i == 0) request.stages.emplace_back();
    request.stages[0].push_back({"cuda:" + std::to_string(i), 1.0, 0});
  }
  request.context_tokens = 4096;
  const auto plan = lay_out(model->spec, request);
  ASSERT_TRUE(plan.ok()) << plan.error().to_string();
  std::int64_t weights = 0;
  for (const RankPlan& rank : plan->stages[0].ranks) {
    EXPECT_EQ(rank.kv_bytes, std::int64_t{576} * 2 * 61 * 4096);
    weights += rank.weights_bytes;
  }
  // Every matrix once, but for the small ones that make the latents.
  EXPECT_NEAR(static_cast<double>(weights), static_cast<double>(model->spec.weight_bytes()),
              0.02 * static_cast<double>(model->spec.weight_bytes()));
}

}  // namespace
}  // namespace tandem
