// Replays the fuzzers' seeds, which are good files, and inputs that broke this reader or others.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "gguf_exercise.h"
#include "model_exercise.h"
#include "tokenizer_exercise.h"

namespace tandem {
namespace {

const std::filesystem::path kFuzz = std::filesystem::path(TANDEM_SOURCE_DIR) / "tests/fuzz";

std::vector<std::vector<std::byte>> files_in(const std::filesystem::path& folder) {
  std::vector<std::vector<std::byte>> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(in), {}};
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    files.emplace_back(begin, begin + text.size());
  }
  return files;
}

TEST(FuzzRegression, GgufSeedsAreAccepted) {
  const auto seeds = files_in(kFuzz / "corpus/gguf");
  EXPECT_GE(seeds.size(), 5u);
  for (const auto& seed : seeds) EXPECT_TRUE(exercise_gguf(seed));
}

// Each is refused, and none may stop the program; their names say what they are.
TEST(FuzzRegression, GgufHostileInputsAreRefused) {
  const auto inputs = files_in(kFuzz / "regressions/gguf");
  EXPECT_GE(inputs.size(), 10u);
  for (const auto& input : inputs) EXPECT_FALSE(exercise_gguf(input));
}

TEST(FuzzRegression, ModelSeedsCouldRun) {
  const auto seeds = files_in(kFuzz / "corpus/model");
  EXPECT_GE(seeds.size(), 8u);
  for (const auto& seed : seeds) EXPECT_TRUE(exercise_model(seed));
}

// The exercise itself stops the program where an input breaks what must hold.
TEST(FuzzRegression, TokenizerSeedsHold) {
  const auto seeds = files_in(kFuzz / "corpus/tokenizer");
  EXPECT_GE(seeds.size(), 8u);
  for (const auto& seed : seeds) exercise_tokenizers(seed);
}

}  // namespace
}  // namespace tandem
