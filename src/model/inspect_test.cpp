#include "model/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

#include "gguf/gguf_file.h"
#include "gguf/image_builder_for_test.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

TEST(Inspect, TellsWhatAFileHoldsThatCannotRun) {
  ImageBuilder image;
  image.header(1, 4).key("general.architecture", GgufType::kString).string("gpt9\x1b[2J");
  image.key("bad", GgufType::kString).string("a\xff\x80z");
  image.array("numbers", GgufType::kI32, 10);
  for (int i = 0; i < 10; ++i) image.raw<std::int32_t>(-i);
  image.key("flag", GgufType::kBool).raw<std::uint8_t>(1);
  image.tensor("odd\xff", {32, 2}, 2 /* Q4_0 */, 0).pad_to(32).zeros(36);
  const auto file = GgufFile::parse(image.bytes(), "x.gguf").value();

  const auto json = inspect_to_json(*file);
  EXPECT_EQ(json["architecture"], "gpt9\x1b[2J");
  EXPECT_TRUE(json["model"].is_null());
  EXPECT_THAT(json["problem"].get<std::string>(), HasSubstr("architecture is not supported"));
  EXPECT_EQ(json["parameters"], 64);
  EXPECT_EQ(json["weight_bytes"], 36);
  EXPECT_EQ(json["bits_per_weight"], 4.5);
  EXPECT_EQ(json["tensors"][0]["shape"], (std::vector<int>{2, 32}));
  EXPECT_EQ(json["tensor_types"]["Q4_0"]["tensors"], 1);
  EXPECT_EQ(json["metadata"]["flag"], true);
  EXPECT_EQ(json["metadata"]["numbers"]["count"], 10);
  EXPECT_EQ(json["metadata"]["numbers"]["first"].size(), 8u);
  EXPECT_EQ(json["metadata"]["bad"], "a\uFFFD\uFFFDz");
  EXPECT_NO_THROW((void)json.dump());  // would throw on text that is no UTF-8

  const std::string text = inspect_to_text(*file, true);
  EXPECT_THAT(text, HasSubstr("numbers = 10 x i32: 0, -1, -2"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << "the file speaks to the terminal";
  EXPECT_THAT(text, HasSubstr("odd\uFFFD"));
}

TEST(Inspect, RealModels) {
  const auto folder = std::filesystem::path(TANDEM_SHARED_DIR) / "reference/models";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  const auto file = GgufFile::open(folder / "mixtral-q4_k_m.gguf").value();
  const auto json = inspect_to_json(*file);
  EXPECT_TRUE(json["problem"].is_null()) << json["problem"];
  EXPECT_EQ(json["file_type"], "Q4_K_M");
  EXPECT_EQ(json["model"]["num_experts"], 4);
  EXPECT_EQ(json["model"]["num_layers"], 2);
  EXPECT_THAT(inspect_to_text(*file, false), HasSubstr("4, 2 used per token"));
}

TEST(Inspect, AVocabularyAlone) {
  const auto path = std::filesystem::path(TANDEM_SHARED_DIR) / "tokenizers/ggml-vocab-gpt-2.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto json = inspect_to_json(*GgufFile::open(path).value());
  EXPECT_EQ(json["tensors"].size(), 0u);
  EXPECT_EQ(json["metadata"]["tokenizer.ggml.tokens"]["count"], 50257);
  EXPECT_TRUE(json["problem"].is_string());
}

}  // namespace
}  // namespace tandem
