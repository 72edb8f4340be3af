// Replays the synthetic recordings and the seeds, whole and cut, through what the fuzzers do, and
// gives the seeds to every parser.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "recording_exercise.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> texts_below(const std::string& folder) {
  std::vector<std::string> texts;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(TANDEM_SOURCE_DIR) / folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    texts.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return texts;
}

void exercise_parts(std::string_view text) {
  for (const std::size_t part : {1, 2, 3, 5}) {
    exercise_recording(text.substr(0, text.size() / part));
    exercise_build(text.substr(0, text.size() / part));
  }
}

TEST(RecordingRegression, WholeAndCutRecordingsHold) {
  const auto texts = texts_below("tests/recordings");
  EXPECT_GT(texts.size(), 40U);
  for (const std::string& text : texts) exercise_parts(text);
}

TEST(RecordingRegression, SeedsHoldInEveryParser) {
  const auto seeds = texts_below("tests/fuzz/corpus/recording");
  EXPECT_GE(seeds.size(), 16U);
  for (const std::string& seed : seeds) {
    exercise_parts(seed);
    for (int kind = 0x80; kind <= 0xFF; ++kind) exercise_recording(static_cast<char>(kind) + seed);
  }
}

}  // namespace
}  // namespace tandem
