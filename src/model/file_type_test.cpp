#include "model/file_type.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/units.h"
#include "gguf/gguf_file.h"
#include "model/known_shapes.h"

namespace tandem {
namespace {

ModelSpec spec_of(std::string_view name, FileType type, bool pure = false) {
  ModelSpec spec = find_known_shape(name).value()->spec;
  assign_tensors(spec, type, pure);
  return spec;
}

ElementType type_in(const ModelSpec& spec, TensorRole role, std::int32_t layer = -1) {
  return spec.find(role, layer)->type;
}

TEST(FileType, NamesRoundTrip) {
  for (const auto* name : {"f32", "Q4_K_M", "iq4_xs", "mxfp4", "Q8_0", "bf16"}) {
    const auto type = file_type_from_name(name);
    ASSERT_TRUE(type.has_value()) << name;
    EXPECT_EQ(file_type_from_name(name_of(*type)), type);
  }
  EXPECT_EQ(file_type_from_name("q4_k"), FileType::kQ4_K_M);
  EXPECT_EQ(file_type_from_name("q9_k"), std::nullopt);
  EXPECT_EQ(name_of_file_type(15), "Q4_K_M");
  EXPECT_EQ(name_of_file_type(999), "file type 999");
}

// Sizes of files that llama-quantize made, as its own table gives them (tools/quantize/README.md,
// "Llama-3.1-8B", in GiB), of which 7 MiB are vocabulary. Its IQ4 files are left out: they were
// made with an importance matrix, which changes the rule for ffn_down.
TEST(FileType, FilesHavePublishedSizes) {
  const std::vector<std::pair<FileType, double>> published = {
      {FileType::kQ2_K, 2.95},   {FileType::kQ3_K_S, 3.41}, {FileType::kQ3_K_M, 3.74},
      {FileType::kQ3_K_L, 4.02}, {FileType::kQ4_0, 4.34},   {FileType::kQ4_K_S, 4.36},
      {FileType::kQ4_K_M, 4.58}, {FileType::kQ4_1, 4.77},   {FileType::kQ5_K_S, 5.21},
      {FileType::kQ5_0, 5.21},   {FileType::kQ5_K_M, 5.33}, {FileType::kQ5_1, 5.65},
      {FileType::kQ6_K, 6.14},   {FileType::kQ8_0, 7.95},   {FileType::kF16, 14.96}};
  for (const auto& [type, gib] : published) {
    const auto bytes = static_cast<double>(spec_of("llama-3.1-8b", type).weight_bytes() + 7 * kMiB);
    EXPECT_NEAR(bytes / static_cast<double>(kGiB), gib, 0.012) << name_of(type);
  }
}

TEST(FileType, MixesRaiseSomeLayers) {
  const ModelSpec spec = spec_of("llama-3-8b", FileType::kQ4_K_M);
  EXPECT_EQ(type_in(spec, TensorRole::kOutput), ElementType::kQ6_K);
  EXPECT_EQ(type_in(spec, TensorRole::kTokenEmbedding), ElementType::kQ4_K);
  EXPECT_EQ(type_in(spec, TensorRole::kValue, 0), ElementType::kQ6_K);
  EXPECT_EQ(type_in(spec, TensorRole::kValue, 4), ElementType::kQ4_K);
  EXPECT_EQ(type_in(spec, TensorRole::kDown, 6), ElementType::kQ6_K);
  EXPECT_EQ(type_in(spec, TensorRole::kDown, 31), ElementType::kQ6_K);
  EXPECT_EQ(type_in(spec, TensorRole::kGate, 0), ElementType::kQ4_K);
  EXPECT_EQ(type_in(spec, TensorRole::kAttentionNorm, 0), ElementType::kF32);
  // Tied embeddings are the output as well.
  EXPECT_EQ(type_in(spec_of("llama-3.2-1b", FileType::kQ4_K_M), TensorRole::kTokenEmbedding),
            ElementType::kQ6_K);
  EXPECT_EQ(type_in(spec_of("llama-3-70b", FileType::kQ4_K_M), TensorRole::kValue, 11),
            ElementType::kQ5_K);
}

TEST(FileType, ExpertsChangeTheMix) {
  const ModelSpec mixtral = spec_of("mixtral-8x7b", FileType::kQ4_K_M);
  EXPECT_EQ(type_in(mixtral, TensorRole::kKey, 5), ElementType::kQ8_0);
  EXPECT_EQ(type_in(mixtral, TensorRole::kAttentionOutput, 5), ElementType::kQ5_K);
  EXPECT_EQ(type_in(mixtral, TensorRole::kRouter, 5), ElementType::kF32);
  const ModelSpec qwen = spec_of("qwen3-30b-a3b", FileType::kMXFP4_MoE);
  EXPECT_EQ(type_in(qwen, TensorRole::kExpertDown, 5), ElementType::kMXFP4);
  EXPECT_EQ(type_in(qwen, TensorRole::kQuery, 5), ElementType::kQ8_0);
}

TEST(FileType, OddRowsFallBack) {
  // Rows of 896: 3.5 blocks of 256.
  const ModelSpec spec = spec_of("qwen2.5-0.5b", FileType::kQ4_K_M);
  EXPECT_EQ(type_in(spec, TensorRole::kGate, 3), ElementType::kQ5_0);
  EXPECT_EQ(type_in(spec, TensorRole::kTokenEmbedding), ElementType::kQ8_0);
  EXPECT_EQ(type_in(spec, TensorRole::kDown, 4), ElementType::kQ4_K);  // rows of 4864
  EXPECT_EQ(type_in(spec_of("qwen2.5-0.5b", FileType::kQ2_K), TensorRole::kUp, 3),
            ElementType::kQ4_0);
  EXPECT_EQ(type_in(spec_of("qwen2.5-0.5b", FileType::kIQ4_XS), TensorRole::kUp, 3),
            ElementType::kIQ4_NL);
}

TEST(FileType, PureIsOneTypeForAllMatrices) {
  for (const TensorSpec& tensor : spec_of("llama-3-8b", FileType::kQ4_K_M, true).tensors)
    EXPECT_EQ(tensor.type, tensor.rows == 1 ? ElementType::kF32 : ElementType::kQ4_K)
        << tensor.name;
}

// Files that llama-quantize made (or a fork of it, whose rules for dense models are the same).
TEST(FileType, RealMixesAreMatched) {
  const auto folder = std::filesystem::path(TANDEM_SHARED_DIR) / "reference/models";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  for (const auto* name : {"llama-q4_k_m.gguf", "mistral-q4_k_m.gguf"}) {
    const auto file = GgufFile::open(folder / name).value();
    const ModelSpec real = model_spec_from_gguf(*file).value();
    ModelSpec ours = real;
    assign_tensors(ours, FileType::kQ4_K_M);
    ASSERT_EQ(ours.tensors.size(), real.tensors.size());
    for (const TensorSpec& tensor : ours.tensors)
      EXPECT_EQ(tensor.type, file->find_tensor(tensor.name)->type) << name << " " << tensor.name;
  }
}

}  // namespace
}  // namespace tandem
