// `tandem model ...` as a user's script sees it: output, exit codes, one line for each failure.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/run_program.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

class ModelCommand : public ::testing::Test {
 protected:
  ModelCommand() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::temp_directory_path() /
                 ("tandem_model_" + std::string(info->name()) + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(directory_);
  }
  ~ModelCommand() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name) const { return (directory_ / name).string(); }

  std::filesystem::path directory_;
};

constexpr const char* kShape =
    R"('{"name": "small", "architecture": "qwen3", "layers": 2, "hidden": 64, "heads": 4,
         "kv_heads": 2, "head_dim": 32, "ffn": 128, "vocabulary": 300}')";

TEST_F(ModelCommand, SynthThenInspect) {
  const auto made = run_tandem("model synth --json --quant q8_0 --seed 5 --shape " +
                               std::string(kShape) + " -o " + path("m.gguf"));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const auto summary = nlohmann::json::parse(made.out);
  EXPECT_EQ(summary["file_bytes"], std::filesystem::file_size(path("m.gguf")));
  EXPECT_EQ(summary["seed"], 5);

  const auto seen = run_tandem("model inspect --json " + path("m.gguf"));
  ASSERT_EQ(seen.exit_code, 0) << seen.err;
  const auto json = nlohmann::json::parse(seen.out);
  EXPECT_EQ(json["architecture"], "qwen3");
  EXPECT_EQ(json["file_type"], "Q8_0");
  EXPECT_EQ(json["model"]["head_dim"], 32);
  EXPECT_TRUE(json["problem"].is_null());
}

TEST_F(ModelCommand, SynthesisedModelsCompute) {
  ASSERT_EQ(run_tandem("model synth --quant q4_0 --shape " + std::string(kShape) + " -o " +
                       path("m.gguf"))
                .exit_code,
            0);
  const auto run =
      run_tandem("eval logits -m " + path("m.gguf") + " --tokens 1,2,3 --out " + path("x.npy"));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(std::filesystem::exists(path("x.npy")));
}

TEST_F(ModelCommand, FailuresAreOneLineWithTheRightCode) {
  std::ofstream(path("text.gguf")) << "this is no model";
  const std::string out = " -o " + path("out.gguf");
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"inspect " + path("none.gguf"), "no such file"},
      {"inspect " + directory_.string(), "not a regular file"},
      {"inspect " + path("text.gguf"), "not a GGUF file (expected \"GGUF\", got 'this')"},
      {"synth --shape nothing --quant q4_0" + out, "no known model of this name"},
      {"synth --shape tinyllama-1.1b --quant q9" + out, "no known quantisation"},
      {"synth --shape '{\"name\": 3}' --quant q4_0" + out, "field \"name\""},
      {"synth --shape tinyllama-1.1b --quant q4_0 -o /dev/null", "not a regular file"},
      {"synth --shape tinyllama-1.1b --quant q4_0 --tokenizer-from " + path("none.gguf") + out,
       "none.gguf: no such file"}};
  for (const auto& [arguments, message] : wrong) {
    const auto run = run_tandem("model " + arguments);
    EXPECT_EQ(run.exit_code, 2) << arguments;
    EXPECT_EQ(run.out, "") << arguments;
    EXPECT_THAT(run.err, HasSubstr(message));
    EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
  }
  EXPECT_EQ(run_tandem("model").exit_code, 2);
  EXPECT_EQ(run_tandem("model synth").exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(path("out.gguf")));
}

TEST_F(ModelCommand, ListsShapes) {
  const auto run = run_tandem("model shapes --json");
  ASSERT_EQ(run.exit_code, 0);
  EXPECT_GE(nlohmann::json::parse(run.out).size(), 12u);
}

}  // namespace
}  // namespace tandem
