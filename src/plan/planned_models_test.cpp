#include "plan/planned_models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/units.h"
#include "plan/layout.h"

namespace tandem {
namespace {

struct Published {
  const char* model;
  const char* quant;
  double gigabytes;  // of the file, 1e9, tokenizer and header (up to some MB) included
  const char* source;
};

// As gtest names a failing row.
std::string name_of(const Published& file) {
  return std::string(file.model) + " " + file.quant + ", " + file.source;
}

// Files as their publishers list them on huggingface.co: in bytes where a commit shows them, else
// in GB with two or three digits.
constexpr Published kFiles[] = {
    {"llama-3.1-8b", "q4_k_m", 4.920739, "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF"},
    {"llama-3-70b", "q4_k_m", 42.5, "mmnga/Meta-Llama-3-70B-Instruct-gguf"},
    {"llama-3-70b", "q4_k_s", 40.3, "mmnga/Meta-Llama-3-70B-Instruct-gguf"},
    {"llama-3.1-70b", "q2_k", 26.375113, "bartowski/Meta-Llama-3.1-70B-Instruct-GGUF"},
    {"llama-3.1-70b", "q3_k_m", 34.267499, "ThomasBaruzier/Meta-Llama-3.1-70B-Instruct-GGUF"},
    {"yi-34b", "q3_k_l", 18.1, "tensorblock/Yi-34B-Llama-GGUF"},
    {"yi-34b", "q5_k_m", 24.3, "tensorblock/Yi-34B-Llama-GGUF"},
    {"mistral-nemo-12b", "q3_k_m", 6.08, "mradermacher/Mistral-Nemo-Instruct-2407-GGUF"},
    {"mistral-nemo-12b", "q6_k", 10.1, "mradermacher/Mistral-Nemo-Instruct-2407-GGUF"},
    {"mistral-nemo-12b", "iq4_xs", 6.80, "mradermacher/Mistral-Nemo-Instruct-2407-GGUF"},
    {"mixtral-8x22b", "q4_k_m", 85.58, "bartowski/Mixtral-8x22B-v0.1-GGUF"},
    {"mixtral-8x22b", "q5_k_s", 96.97, "bartowski/Mixtral-8x22B-v0.1-GGUF"},
    {"qwen2.5-14b", "q4_k_m", 8.99, "mradermacher/Qwen2.5-14B-GGUF"},
    {"qwen2.5-14b", "q8_0", 15.7, "mradermacher/Qwen2.5-14B-GGUF"},
    {"qwen2.5-72b", "q4_k_m", 47.4, "mradermacher/Qwen2.5-72B-Instruct-GGUF"},
    {"qwen2.5-72b", "q2_k", 29.8, "mradermacher/Qwen2.5-72B-Instruct-GGUF"},
    {"qwen3-32b", "q8_0", 34.82, "bartowski/Qwen_Qwen3-32B-GGUF"},
    {"qwen3-32b", "bf16", 65.53, "bartowski/Qwen_Qwen3-32B-GGUF"},
    {"qwen3-30b-a3b", "q5_k_s", 21.10, "bartowski/Qwen_Qwen3-30B-A3B-GGUF"},
    {"qwen3-30b-a3b", "q6_k", 25.10, "bartowski/Qwen_Qwen3-30B-A3B-GGUF"},
    {"qwen3-30b-a3b", "q8_0", 32.48, "bartowski/Qwen_Qwen3-30B-A3B-GGUF"},
    {"gpt-oss-20b", "mxfp4_moe", 12.1, "benhaotang/gpt-oss-coder-20B-GGUF"},
    {"gemma-2-27b", "q3_k_s", 12.169061, "duyntnet/gemma-2-27b-it-imatrix-GGUF"},
    {"gemma-2-27b", "q5_k_m", 19.408119, "duyntnet/gemma-2-27b-it-imatrix-GGUF"},
    {"gemma-3-1b", "q8_0", 1.07, "lmstudio-community/gemma-3-1b-it-GGUF"},
    {"gemma-3-4b", "q4_k_m", 2.49, "ggml-org/gemma-3-4b-it-GGUF"},
    {"gemma-3-12b", "q4_k_m", 7.30, "MaziyarPanahi/gemma-3-12b-it-GGUF"},
    {"phi-3-mini", "q3_k_s", 1.681797, "MaziyarPanahi/calme-2.3-phi3-4b-GGUF"},
    {"deepseek-v2-lite", "q2_k", 6.43, "mradermacher/DeepSeek-Coder-V2-Lite-Instruct-GGUF"},
    {"deepseek-v2-lite", "q4_k_s", 9.53, "mradermacher/DeepSeek-Coder-V2-Lite-Instruct-GGUF"},
    {"deepseek-v2-lite", "q4_k_m", 10.4, "mradermacher/DeepSeek-Coder-V2-Lite-Instruct-GGUF"},
    {"deepseek-v2-lite", "q5_k_m", 11.9, "mradermacher/DeepSeek-Coder-V2-Lite-Instruct-GGUF"},
    {"deepseek-v2-lite", "q8_0", 16.7, "mradermacher/DeepSeek-Coder-V2-Lite-Instruct-GGUF"},
    {"deepseek-v2", "q4_k_m", 142.45, "bartowski/DeepSeek-V2.5-GGUF"},
    {"deepseek-v3", "q4_k_m", 404.43, "bartowski/deepseek-ai_DeepSeek-V3-0324-GGUF"},
    {"deepseek-v3", "q5_k_s", 461.81, "bartowski/deepseek-ai_DeepSeek-V3-0324-GGUF"},
    {"deepseek-v3", "q5_k_m", 475.40, "bartowski/deepseek-ai_DeepSeek-V3-0324-GGUF"},
    {"deepseek-v3", "q6_k", 550.80, "bartowski/deepseek-ai_DeepSeek-V3-0324-GGUF"},
    {"deepseek-v3", "q8_0", 713.29, "bartowski/deepseek-ai_DeepSeek-V3-0324-GGUF"},
};

TEST(PlannedModels, FilesComeOutAsPublished) {
  for (const Published& file : kFiles) {
    const auto model = plannable_model(file.model, file.quant);
    ASSERT_TRUE(model.ok()) << model.error().to_string();
    const double gigabytes = static_cast<double>(model->spec.weight_bytes()) / 1e9;
    EXPECT_NEAR(gigabytes / file.gigabytes, 1.0, 0.01) << name_of(file);
  }
}

// Its file holds one more layer, which predicts a second token and which engines leave out: beside
// a layer's tensors a matrix over two hidden states and its own embeddings and output.
TEST(PlannedModels, GlmFilesComeOutWithTheirPredictingLayer) {
  const auto model = plannable_model("glm-4.5-air", "q8_0");
  ASSERT_TRUE(model.ok()) << model.error().to_string();
  std::int64_t bytes = model->spec.weight_bytes();
  for (const TensorSpec& tensor : model->spec.tensors) {
    if (tensor.layer == model->spec.num_layers - 1) bytes += tensor.size_bytes();
  }
  const std::int64_t hidden = model->spec.hidden_size;
  const std::int64_t extra = 2 * hidden * hidden + 2 * model->spec.vocabulary_size * hidden;
  bytes += extra * 34 / 32;  // Q8_0: blocks of 32 in 34 bytes
  // ubergarm/GLM-4.5-Air-GGUF: 109.381 GiB.
  EXPECT_NEAR(static_cast<double>(bytes) / static_cast<double>(kGiB), 109.381, 0.1);
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
