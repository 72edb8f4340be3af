#include "model/known_shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "model/file_type.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

ModelSpec spec_of(std::string_view name, FileType type) {
  ModelSpec spec = find_known_shape(name).value()->spec;
  assign_tensors(spec, type);
  return spec;
}

TEST(KnownShapes, HaveNamesAndSources) {
  std::set<std::string> names;
  for (const KnownShape& shape : known_shapes()) {
    EXPECT_TRUE(names.insert(shape.spec.name).second) << shape.spec.name;
    for (const auto& alias : shape.aliases) EXPECT_TRUE(names.insert(alias).second) << alias;
    EXPECT_FALSE(shape.source.empty()) << shape.spec.name;
    EXPECT_FALSE(shape.title.empty()) << shape.spec.name;
  }
  for (const auto* wanted : {"llama-3.2-1b", "llama-3.2-3b", "llama-3-8b", "llama-3-70b",
                             "qwen3-0.6b", "qwen3-8b", "qwen3-30b-a3b", "mistral-7b",
                             "mixtral-8x7b", "gemma-3-4b", "phi-3-mini", "tinyllama-1.1b"})
    EXPECT_TRUE(names.contains(wanted)) << wanted;
}

// The counts that the models' publishers give for the whole model (for Gemma 3: its text part).
TEST(KnownShapes, HavePublishedParameterCounts) {
  const std::vector<std::pair<std::string, double>> published = {
      {"tinyllama-1.1b", 1.100e9}, {"llama-3.2-1b", 1.236e9},     {"llama-3.2-3b", 3.213e9},
      {"llama-3-8b", 8.030e9},     {"llama-3-70b", 70.55e9},      {"llama-2-7b", 6.738e9},
      {"llama-2-13b", 13.016e9},   {"llama-2-70b", 68.977e9},     {"mistral-7b", 7.248e9},
      {"mixtral-8x7b", 46.703e9},  {"qwen2.5-0.5b", 0.494e9},     {"qwen2.5-7b", 7.616e9},
      {"qwen3-0.6b", 0.596e9},     {"qwen3-8b", 8.191e9},         {"qwen3-32b", 32.762e9},
      {"qwen3-30b-a3b", 30.532e9}, {"qwen3-235b-a22b", 235.09e9}, {"gemma-2-2b", 2.614e9},
      {"gemma-2-9b", 9.242e9},     {"gemma-2-27b", 27.227e9},     {"gemma-3-1b", 1.000e9},
      {"gemma-3-4b", 3.880e9},     {"phi-3-mini", 3.821e9}};
  for (const auto& [name, count] : published)
    EXPECT_NEAR(static_cast<double>(spec_of(name, FileType::kF16).num_parameters()) / count, 1.0,
                1e-3)
        << name;
}

TEST(KnownShapes, AreFoundWithoutCaseAndByAlias) {
  EXPECT_EQ((*find_known_shape("Llama-3-8B"))->spec.name, "llama-3-8b");
  EXPECT_EQ((*find_known_shape("llama-3.3-70b"))->spec.name, "llama-3.1-70b");
  const auto missing = find_known_shape("gpt-9");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().to_string(), HasSubstr("llama-3-8b"));
}

TEST(KnownShapes, LongContextLlamasStretchLongWavesOnly) {
  const KnownShape& shape = **find_known_shape("llama-3.2-1b");
  ASSERT_EQ(shape.rope_factors.size(), 32u);
  EXPECT_EQ(shape.rope_factors.front(), 1.0f);
  EXPECT_EQ(shape.rope_factors.back(), 32.0f);
  EXPECT_TRUE(std::is_sorted(shape.rope_factors.begin(), shape.rope_factors.end()));
  EXPECT_TRUE((*find_known_shape("llama-3-8b"))->rope_factors.empty());
}

constexpr std::string_view kTiny = R"({"name": "tiny", "architecture": "qwen3", "layers": 2,
    "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 32, "ffn": 192, "vocabulary": 512})";

std::string with(std::string_view from, std::string_view to) {
  std::string text(kTiny);
  return text.replace(text.find(from), from.size(), to);
}

TEST(KnownShapes, UsersMayDescribeTheirOwn) {
  const auto shape = shape_from_argument(kTiny).value();
  EXPECT_EQ(shape.spec.architecture, Architecture::kQwen3);
  EXPECT_EQ(shape.spec.attention.head_dim, 32);
  EXPECT_TRUE(shape.spec.attention.has_qk_norm);
  EXPECT_EQ(shape.spec.context_tokens, 4096);
}

TEST(KnownShapes, DescriptionsAreChecked) {
  const auto refusal = [](const std::string& json) {
    const auto shape = shape_from_argument(json);
    return shape.ok() ? "(accepted)" : shape.error().to_string();
  };
  EXPECT_EQ(refusal("{"), "--shape: not JSON");
  EXPECT_THAT(refusal("{}"), HasSubstr("field \"name\" (expected a string, got nothing)"));
  EXPECT_THAT(refusal(with("qwen3", "gpt9")), HasSubstr("architecture (expected llama, "));
  EXPECT_EQ(refusal(with("\"layers\": 2", "\"layers\": 0")),
            "--shape: tiny: field \"layers\" (expected an integer, 1 to 1024, got 0)");
  EXPECT_THAT(refusal(with("\"layers\": 2", "\"layers\": 1e9")), HasSubstr("\"layers\""));
  EXPECT_THAT(refusal(with("\"layers\": 2", "\"layers\": 18446744073709551615")),
              HasSubstr("\"layers\""));
  EXPECT_THAT(refusal(with("\"kv_heads\": 2", "\"kv_heads\": 3")),
              HasSubstr("heads (expected a multiple of 3, got 4)"));
  EXPECT_THAT(refusal(with("\"ffn\"", "\"fnn\"")), HasSubstr("field \"ffn\""));
  EXPECT_THAT(refusal(with("\"ffn\"", "\"depth\": 3, \"ffn\"")),
              HasSubstr("unknown field \"depth\""));
  EXPECT_THAT(refusal(with("qwen3", "qwen3moe")), HasSubstr("experts"));
  EXPECT_THAT(refusal(with("\"ffn\"", "\"rope\": {\"scaling\": \"magic\"}, \"ffn\"")),
              HasSubstr("scaling (expected llama3 or linear, got magic)"));
  EXPECT_THAT(refusal(R"({"name": "huge", "architecture": "llama", "layers": 1024,
                  "hidden": 4194304, "heads": 4096, "ffn": 4194304, "vocabulary": 16777216,
                  "experts": {"count": 1024, "used": 1}})"),
              HasSubstr("number of weights (expected at most 1e+15"));
  EXPECT_THAT(refusal("no-such-model"), HasSubstr("no known model of this name"));
}

}  // namespace
}  // namespace tandem
