// Replays the synthetic recordings, whole and cut, through what the recording fuzzer does.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "recording_exercise.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

TEST(RecordingRegression, WholeAndCutRecordingsHold) {
  int files = 0;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(TANDEM_SOURCE_DIR) / "tests/recordings")) {
    if (!entry.is_regular_file()) continue;
    ++files;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    for (const std::size_t part : {1, 2, 3, 5}) {
      exercise_recording(std::string_view(text).substr(0, text.size() / part));
      exercise_build(std::string_view(text).substr(0, text.size() / part));
    }
  }
  EXPECT_GT(files, 40);
}

}  // namespace
}  // namespace tandem
