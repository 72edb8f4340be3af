// The vocabularies and vectors that llama.cpp publishes for its own tests, read where they lie.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "gguf/gguf_file.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> read_inputs(const fs::path& path) {
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  const std::string text = read_text(path);
  std::vector<std::string> inputs;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find(kSeparator, begin)) != std::string::npos;
       begin = end + kSeparator.size()) {
    inputs.push_back(text.substr(begin, end - begin));
  }
  // What stands behind the last separator is no test, as in llama.cpp's test-tokenizer-0.
  return inputs;
}

std::vector<std::vector<std::int32_t>> read_outputs(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::vector<std::int32_t>> outputs;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    outputs.emplace_back(std::istream_iterator<std::int32_t>(words),
                         std::istream_iterator<std::int32_t>());
  }
  return outputs;
}

std::vector<fs::path> vocabularies() {
  std::vector<fs::path> paths;
  const fs::path folder = fs::path(TANDEM_SHARED_DIR) / "tokenizers";
  if (!fs::is_directory(folder)) return paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::unique_ptr<const Tokenizer> open_tokenizer(const fs::path& path) {
  auto file = GgufFile::open(path);
  EXPECT_TRUE(file.ok()) << (file.ok() ? "" : file.error().to_string());
  if (!file.ok()) return nullptr;
  auto tokenizer = Tokenizer::create(**file);
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().to_string());
  if (!tokenizer.ok()) return nullptr;
  return std::move(tokenizer).value();
}

TEST(PublishedVectors, AllMatchExactly) {
  const auto paths = vocabularies();
  if (paths.empty()) GTEST_SKIP() << "NOT TESTED: no vocabularies in " TANDEM_SHARED_DIR;
  EXPECT_GE(paths.size(), 11u);
  for (const fs::path& path : paths) {
    SCOPED_TRACE(path.filename());
    const auto tokenizer = open_tokenizer(path);
    ASSERT_NE(tokenizer, nullptr);
    const auto inputs = read_inputs(path.string() + ".inp");
    const auto outputs = read_outputs(path.string() + ".out");
    ASSERT_EQ(inputs.size(), outputs.size());
    ASSERT_GT(inputs.size(), 40u);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_EQ(tokenizer->encode(inputs[i], {.add_special = false}), outputs[i])
          << "test " << i << ": \"" << inputs[i] << '"';
    }
  }
}

TEST(PublishedVectors, AllDecodeToTheirText) {
  const auto paths = vocabularies();
  if (paths.empty()) GTEST_SKIP() << "NOT TESTED: no vocabularies in " TANDEM_SHARED_DIR;
  for (const fs::path& path : paths) {
    SCOPED_TRACE(path.filename());
    const auto tokenizer = open_tokenizer(path);
    ASSERT_NE(tokenizer, nullptr);
    for (const std::string& input : read_inputs(path.string() + ".inp")) {
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(input)), input);
    }
  }
}

}  // namespace
}  // namespace tandem
