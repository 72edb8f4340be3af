#include "runtime/row_reader.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include <unistd.h>

#include "gguf/image_builder_for_test.h"

namespace tandem {
namespace {

constexpr std::uint32_t kF32 = 0;
constexpr std::int64_t kRows = 1000;
constexpr std::int64_t kColumns = 96;
constexpr std::int64_t kRowBytes = kColumns * 4;

class RowReaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ImageBuilder image;
    image.header(1, 0).tensor("t", {kColumns, kRows}, kF32, 0).pad_to(32);
    for (std::int64_t i = 0; i < kRows * kColumns; ++i) image.raw(static_cast<float>(i));
    path_ = std::filesystem::temp_directory_path() /
            ("row_reader_test_" + std::to_string(getpid()) + ".gguf");
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(image.bytes().data()),
               static_cast<std::streamsize>(image.bytes().size()));
    file_ = GgufFile::open(path_).value();
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::span<const std::byte> data() const { return file_->tensors()[0].data; }
  static float first_of(std::span<const std::byte> bytes) {
    float value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  std::filesystem::path path_;
  std::shared_ptr<const GgufFile> file_;
};

TEST_F(RowReaderTest, DeliversPartsOfRows) {
  for (const std::int64_t part : {kRowBytes, kRowBytes / 2, kRowBytes / 8}) {
    const std::int64_t begin = kRowBytes - part;
    RowReader reader(*file_, data(), {kRowBytes, begin, part, kRows - 10});
    for (std::int64_t row = 0; row < kRows - 10; ++row) {
      const auto bytes = reader.row(10, row);
      ASSERT_EQ(static_cast<std::int64_t>(bytes.size()), part);
      ASSERT_EQ(first_of(bytes), static_cast<float>((10 + row) * kColumns + begin / 4));
    }
    EXPECT_TRUE(reader.status().ok());
  }
}

TEST_F(RowReaderTest, ReadersAndThreadsDoNotMixTheirRows) {
  RowReader left(*file_, data(), {kRowBytes, 0, kRowBytes / 2, kRows});
  RowReader right(*file_, data(), {kRowBytes, kRowBytes / 2, kRowBytes / 2, kRows});
  const auto check = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      EXPECT_EQ(first_of(left.row(0, row)), static_cast<float>(row * kColumns));
      EXPECT_EQ(first_of(right.row(0, row)), static_cast<float>(row * kColumns + kColumns / 2));
    }
  };
  std::thread other(check, 64, 128);
  check(0, 64);
  other.join();
}

TEST_F(RowReaderTest, TellsThatTheFileBecameShorter) {
  RowReader reader(*file_, data(), {kRowBytes, 0, kRowBytes, kRows});
  std::filesystem::resize_file(path_, 1000);
  EXPECT_EQ(static_cast<std::int64_t>(reader.row(0, 500).size()), kRowBytes);
  ASSERT_FALSE(reader.status().ok());
  EXPECT_EQ(reader.status().error().code, ErrorCode::kMalformed);
}

}  // namespace
}  // namespace tandem
