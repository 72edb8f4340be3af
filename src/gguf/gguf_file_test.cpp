#include "gguf/gguf_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gguf/image_builder_for_test.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

constexpr std::uint32_t kF32 = 0;

// A directory of its own for each test, gone afterwards.
class GgufFileTest : public ::testing::Test {
 protected:
  GgufFileTest() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::temp_directory_path() /
                 ("tandem_gguf_" + std::string(info->name()) + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(directory_);
  }
  ~GgufFileTest() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path write(const std::string& name, const ImageBuilder& image) {
    const auto path = directory_ / name;
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(image.bytes().data()),
              static_cast<std::streamsize>(image.bytes().size()));
    return path;
  }

  static std::string refusal_of(const std::filesystem::path& path) {
    const auto file = GgufFile::open(path);
    return file.ok() ? "(accepted)" : file.error().to_string();
  }

  std::filesystem::path directory_;
};

ImageBuilder small_file(std::uint32_t version = 3) {
  ImageBuilder image;
  image.header(2, 8, version);
  image.key("s", GgufType::kString).string("text");
  image.u32("u", 7).key("i", GgufType::kI32).raw<std::int32_t>(-3);
  image.key("f", GgufType::kF32).raw(0.5f).key("b", GgufType::kBool).raw<std::uint8_t>(1);
  image.key("wide", GgufType::kU64).raw(~std::uint64_t{0});
  image.array("words", GgufType::kString, 2).string("one").string("");
  image.array("ids", GgufType::kI32, 2).raw<std::int32_t>(-1).raw<std::int32_t>(5);
  image.tensor("first", {8, 3}, kF32, 0).tensor("second", {32}, 2, 96);
  image.pad_to(32);
  for (int i = 0; i < 24; ++i) image.raw(static_cast<float>(i));
  return image.zeros(18);
}

TEST_F(GgufFileTest, ReadsBothVersions) {
  for (const std::uint32_t version : {2u, 3u}) {
    const auto file = GgufFile::open(write("small.gguf", small_file(version))).value();
    EXPECT_EQ(file->version(), version);
    EXPECT_EQ(file->file_bytes(), static_cast<std::int64_t>(small_file().bytes().size()));
    ASSERT_EQ(file->tensors().size(), 2u);
    const GgufTensor* first = file->find_tensor("first");
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(first->dims, (std::vector<std::int64_t>{8, 3}));
    EXPECT_EQ(first->columns(), 8);
    EXPECT_EQ(first->rows(), 3);
    ASSERT_EQ(first->data.size(), 96u);
    float last;
    std::memcpy(&last, first->data.data() + 92, sizeof last);
    EXPECT_EQ(last, 23.0f);
    EXPECT_EQ(file->find_tensor("second")->type, ElementType::kQ4_0);
    EXPECT_EQ(file->find_tensor("second")->data.size(), 18u);
    EXPECT_EQ(file->find_tensor("third"), nullptr);
  }
}

TEST_F(GgufFileTest, LooksUpTypedValues) {
  const auto image = small_file();
  const auto file = GgufFile::parse(image.bytes(), "m.gguf").value();
  EXPECT_EQ(*file->get_string("s"), "text");
  EXPECT_EQ(*file->get_uint("u"), 7u);
  EXPECT_EQ(file->find("i")->as_int(), -3);
  EXPECT_EQ(*file->get_float("f"), 0.5);
  EXPECT_EQ(*file->get_float("u"), 7.0);
  EXPECT_EQ(*file->get_bool_or("b", false), true);
  EXPECT_EQ(*file->get_uint("wide"), ~std::uint64_t{0});
  EXPECT_EQ(file->find("wide")->as_int(), std::nullopt);
  const GgufArray* words = file->get_array("words").value();
  EXPECT_EQ(std::get<std::vector<std::string_view>>(words->elements),
            (std::vector<std::string_view>{"one", ""}));
  EXPECT_EQ(std::get<std::vector<std::int64_t>>((*file->get_array("ids"))->elements),
            (std::vector<std::int64_t>{-1, 5}));
}

TEST_F(GgufFileTest, LookUpsSayWhatIsWrong) {
  const auto image = small_file();
  const auto file = GgufFile::parse(image.bytes(), "m.gguf").value();
  EXPECT_EQ(file->get_uint("none").error().to_string(), "m.gguf: key 'none' is missing");
  EXPECT_EQ(file->get_uint("s").error().to_string(),
            "m.gguf: key 's': wrong type (expected an integer, not negative, got string)");
  EXPECT_THAT(file->get_uint("i").error().to_string(), HasSubstr("got i32 -3"));
  EXPECT_THAT(file->get_uint("b").error().to_string(), HasSubstr("got bool"));
  EXPECT_THAT(file->get_float("b").error().to_string(), HasSubstr("got bool"));
  EXPECT_THAT(file->get_string("words").error().to_string(), HasSubstr("got array of string"));
  EXPECT_THAT(file->get_array("u").error().to_string(), HasSubstr("got u32 7"));
  EXPECT_EQ(*file->get_uint_or("none", 4), 4u);
  EXPECT_FALSE(file->get_uint_or("s", 4).ok());
  EXPECT_EQ(*file->get_string_or("none", "x"), "x");
  EXPECT_FALSE(file->get_string_or("u", "x").ok());
  EXPECT_EQ(*file->get_float_or("none", 1.5), 1.5);
  EXPECT_FALSE(file->get_float_or("s", 1.5).ok());
  EXPECT_EQ(*file->get_bool_or("none", true), true);
  EXPECT_FALSE(file->get_bool_or("u", true).ok());
}

TEST_F(GgufFileTest, HonoursAlignment) {
  for (const std::uint32_t alignment : {8u, 64u, 4096u}) {
    ImageBuilder image;
    image.header(1, 1).u32("general.alignment", alignment);
    image.tensor("t", {2}, kF32, alignment).pad_to(alignment).zeros(alignment).raw(1.0f).raw(2.0f);
    const auto file = GgufFile::parse(image.bytes(), "aligned.gguf").value();
    float value;
    std::memcpy(&value, file->tensors()[0].data.data() + 4, sizeof value);
    EXPECT_EQ(value, 2.0f) << alignment;
  }
}

TEST_F(GgufFileTest, RefusesWhatIsNoFile) {
  EXPECT_EQ(GgufFile::open(directory_ / "none.gguf").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(refusal_of(directory_), HasSubstr("not a regular file"));
  const auto pipe = directory_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(refusal_of(pipe), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal_of(write("empty.gguf", ImageBuilder())), HasSubstr("byte 0"));
}

// Pages of the mapping that hold `range` and lie in this process's memory map.
std::size_t resident_bytes_of_mapping(const std::filesystem::path& path) {
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  while (std::getline(maps, line)) {
    if (line.find(path.string()) != std::string::npos) inside = true;
    if (inside && line.starts_with("Rss:")) return std::stoul(line.substr(4)) * 1024;
  }
  return 0;
}

TEST_F(GgufFileTest, ReleasesPagesAndReadsThemAgain) {
  constexpr std::size_t kBytes = 1 << 20;
  ImageBuilder image;
  image.header(1, 0).tensor("t", {kBytes / 4}, kF32, 0).pad_to(32).zeros(kBytes - 4).raw(3.0f);
  const auto path = write("big.gguf", image);
  const auto file = GgufFile::open(path).value();
  const auto data = file->tensors()[0].data;
  unsigned sum = 0;
  for (const std::byte byte : data) sum += static_cast<unsigned>(byte);
  EXPECT_GE(resident_bytes_of_mapping(path), kBytes);
  file->release_pages(data);
  EXPECT_LT(resident_bytes_of_mapping(path), kBytes / 4);
  unsigned again = 0;
  for (const std::byte byte : data) again += static_cast<unsigned>(byte);
  EXPECT_EQ(again, sum);
}

TEST_F(GgufFileTest, CopiesWithoutMappingAnything) {
  constexpr std::size_t kBytes = 1 << 20;
  ImageBuilder image;
  image.header(1, 0).tensor("t", {kBytes / 4}, kF32, 0).pad_to(32).zeros(kBytes - 4).raw(3.0f);
  const auto path = write("copied.gguf", image);
  const auto file = GgufFile::open(path).value();
  const auto data = file->tensors()[0].data;
  const std::size_t resident = resident_bytes_of_mapping(path);
  std::vector<float> last(1000);
  const auto range = data.last(last.size() * sizeof(float));
  ASSERT_TRUE(file->copy_bytes(range, std::as_writable_bytes(std::span(last))).ok());
  EXPECT_EQ(last.back(), 3.0f);
  EXPECT_EQ(last.front(), 0.0f);
  EXPECT_EQ(resident_bytes_of_mapping(path), resident);
}

TEST_F(GgufFileTest, SaysThatAFileWasTruncated) {
  constexpr std::size_t kBytes = 1 << 20;
  ImageBuilder image;
  image.header(1, 0).tensor("t", {kBytes / 4}, kF32, 0).pad_to(32).zeros(kBytes);
  const auto path = write("truncated.gguf", image);
  const auto file = GgufFile::open(path).value();
  std::filesystem::resize_file(path, kBytes / 2);
  std::vector<std::byte> all(kBytes);
  const Status status = file->copy_bytes(file->tensors()[0].data, all);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kMalformed);
}

TEST_F(GgufFileTest, CopiesFromAnImageInMemory) {
  ImageBuilder image;
  image.header(1, 0).tensor("t", {8}, kF32, 0).pad_to(32).zeros(28).raw(3.0f);
  const auto file = GgufFile::parse(image.bytes(), "image").value();
  std::vector<float> all(8);
  ASSERT_TRUE(
      file->copy_bytes(file->tensors()[0].data, std::as_writable_bytes(std::span(all))).ok());
  EXPECT_EQ(all.back(), 3.0f);
}

ImageBuilder part(std::uint16_t index, std::uint16_t count, const std::string& tensor,
                  std::int32_t num_tensors = 3) {
  ImageBuilder image;
  image.header(1, 3).key("split.no", GgufType::kU16).raw(index);
  image.key("split.count", GgufType::kU16).raw(count);
  image.key("split.tensors.count", GgufType::kI32).raw(num_tensors);
  image.tensor(tensor, {8}, kF32, 0).pad_to(32).raw(static_cast<float>(index)).zeros(28);
  return image;
}

TEST_F(GgufFileTest, SeveralFilesAppearAsOne) {
  const auto first = write("m-00001-of-00003.gguf", part(0, 3, "a"));
  write("m-00002-of-00003.gguf", part(1, 3, "b"));
  write("m-00003-of-00003.gguf", part(2, 3, "c"));
  const auto file = GgufFile::open(first).value();
  ASSERT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(file->tensors()[2].name, "c");
  float value;
  std::memcpy(&value, file->find_tensor("c")->data.data(), sizeof value);
  EXPECT_EQ(value, 2.0f);
  EXPECT_EQ(file->file_bytes(), 3 * static_cast<std::int64_t>(std::filesystem::file_size(first)));
}

TEST_F(GgufFileTest, SeveralFilesMustAgree) {
  const auto first = write("m-00001-of-00003.gguf", part(0, 3, "a"));
  const auto second = write("m-00002-of-00003.gguf", part(1, 3, "b"));
  EXPECT_THAT(refusal_of(first), HasSubstr("m-00003-of-00003.gguf: no such file"));
  EXPECT_THAT(refusal_of(second), HasSubstr("one of several files, and not the first"));

  write("m-00003-of-00003.gguf", part(1, 3, "c"));
  EXPECT_THAT(refusal_of(first), HasSubstr("m-00003-of-00003.gguf: key 'split.no': files of one "
                                           "model do not agree (expected 2, got 1)"));
  write("m-00003-of-00003.gguf", part(2, 4, "c"));
  EXPECT_THAT(refusal_of(first), HasSubstr("key 'split.count'"));
  write("m-00003-of-00003.gguf", part(2, 3, "a"));
  EXPECT_THAT(refusal_of(first), HasSubstr("tensor 'a' stands in another file"));
  write("m-00003-of-00003.gguf", small_file());
  EXPECT_THAT(refusal_of(first), HasSubstr("key 'split.no': missing in a file of several"));

  write("m-00003-of-00003.gguf", part(2, 3, "c"));
  write("m-00001-of-00003.gguf", part(0, 3, "a", 4));
  EXPECT_THAT(refusal_of(first), HasSubstr("'split.tensors.count': tensors in all files (expected "
                                           "4, got 3)"));
  EXPECT_THAT(refusal_of(write("renamed.gguf", part(0, 3, "a"))),
              HasSubstr("name of the first of several files (expected ...-00001-of-00003.gguf"));
  EXPECT_EQ(refusal_of(write("alone.gguf", part(0, 1, "a", 1))), "(accepted)");
}

TEST_F(GgufFileTest, RealVocabulariesAndModels) {
  const std::filesystem::path shared = TANDEM_SHARED_DIR;
  if (!std::filesystem::exists(shared)) GTEST_SKIP() << "no " << shared;
  int num_files = 0;
  for (const auto* folder : {"tokenizers", "reference/models"}) {
    for (const auto& entry : std::filesystem::directory_iterator(shared / folder)) {
      if (entry.path().extension() != ".gguf") continue;
      const auto file = GgufFile::open(entry.path());
      ASSERT_TRUE(file.ok()) << file.error().to_string();
      EXPECT_TRUE((*file)->get_array("tokenizer.ggml.tokens").ok()) << entry.path();
      ++num_files;
    }
  }
  EXPECT_GT(num_files, 40);
}

}  // namespace
}  // namespace tandem
