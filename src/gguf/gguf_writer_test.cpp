#include "gguf/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "gguf/gguf_file.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

class GgufWriterTest : public ::testing::Test {
 protected:
  GgufWriterTest()
      : directory_(std::filesystem::temp_directory_path() /
                   ("tandem_writer_" +
                    std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) +
                    "_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(directory_);
  }
  ~GgufWriterTest() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
};

Status fill_with_zeros(std::size_t, std::int64_t, std::span<std::byte> chunk) {
  std::memset(chunk.data(), 0, chunk.size());
  return {};
}

// Bytes that tell tensor and place apart.
std::byte pattern(std::size_t tensor_index, std::int64_t offset_bytes) {
  return static_cast<std::byte>((offset_bytes * 31 + static_cast<std::int64_t>(tensor_index)) %
                                251);
}

Status fill_with_pattern(std::size_t tensor_index, std::int64_t offset_bytes,
                         std::span<std::byte> chunk) {
  for (std::size_t i = 0; i < chunk.size(); ++i)
    chunk[i] = pattern(tensor_index, offset_bytes + static_cast<std::int64_t>(i));
  return {};
}

TEST_F(GgufWriterTest, ValuesRoundTrip) {
  GgufWriter writer;
  writer.set_u32("u32", 0xfffffffe);
  writer.set_u64("u64", ~std::uint64_t{0});
  writer.set_i32("i32", -7);
  writer.set_f32("f32", 0.1f);
  writer.set_bool("yes", true);
  writer.set_bool("no", false);
  const std::string_view odd_text("a\0b\xff", 4);
  writer.set_string("string", odd_text);
  const std::vector<std::string> words = {"one", "", "three"};
  writer.set_strings("words", words);
  writer.set_f32s("floats", std::vector<float>{0.5f, -2.0f});
  writer.set_i32s("ints", std::vector<std::int32_t>{-1, 2});
  const auto path = directory_ / "values.gguf";
  ASSERT_TRUE(writer.write(path, fill_with_zeros).ok());
  EXPECT_EQ(writer.file_bytes(), static_cast<std::int64_t>(std::filesystem::file_size(path)));

  const auto file = GgufFile::open(path).value();
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->metadata().size(), 10u);
  EXPECT_EQ(file->find("u32")->type, GgufType::kU32);
  EXPECT_EQ(*file->get_uint("u32"), 0xfffffffe);
  EXPECT_EQ(*file->get_uint("u64"), ~std::uint64_t{0});
  EXPECT_EQ(file->find("i32")->as_int(), -7);
  EXPECT_EQ(*file->get_float("f32"), static_cast<double>(0.1f));
  EXPECT_EQ(*file->get_bool_or("yes", false), true);
  EXPECT_EQ(*file->get_bool_or("no", true), false);
  EXPECT_EQ(*file->get_string("string"), odd_text);
  EXPECT_EQ(std::get<std::vector<std::string_view>>((*file->get_array("words"))->elements),
            (std::vector<std::string_view>{"one", "", "three"}));
  EXPECT_EQ(std::get<std::vector<double>>((*file->get_array("floats"))->elements),
            (std::vector<double>{0.5, -2.0}));
  EXPECT_EQ(std::get<std::vector<std::int64_t>>((*file->get_array("ints"))->elements),
            (std::vector<std::int64_t>{-1, 2}));
}

TEST_F(GgufWriterTest, EveryTypeIsCopiedUnchanged) {
  const auto scalar = [](GgufType type, auto value) { return GgufValue{type, value}; };
  const std::vector<std::pair<std::string, GgufValue>> values = {
      {"u8", scalar(GgufType::kU8, std::uint64_t{255})},
      {"i8", scalar(GgufType::kI8, std::int64_t{-128})},
      {"u16", scalar(GgufType::kU16, std::uint64_t{65535})},
      {"i16", scalar(GgufType::kI16, std::int64_t{-32768})},
      {"i64", scalar(GgufType::kI64, std::int64_t{-1} << 63)},
      {"f64", scalar(GgufType::kF64, 0.1)},
      {"bool", scalar(GgufType::kBool, std::uint64_t{1})},
      {"string", scalar(GgufType::kString, std::string_view("text"))},
      {"u8s", {GgufType::kArray, GgufArray{GgufType::kU8, std::vector<std::uint64_t>{0, 255}}}},
      {"i16s", {GgufType::kArray, GgufArray{GgufType::kI16, std::vector<std::int64_t>{-2}}}},
      {"bools", {GgufType::kArray, GgufArray{GgufType::kBool, std::vector<std::uint64_t>{1, 0}}}},
      {"f64s", {GgufType::kArray, GgufArray{GgufType::kF64, std::vector<double>{0.1}}}},
      {"none", {GgufType::kArray, GgufArray{GgufType::kString, std::vector<std::string_view>{}}}}};
  GgufWriter writer;
  for (const auto& [key, value] : values) writer.set_value(key, value);
  const auto path = directory_ / "types.gguf";
  ASSERT_TRUE(writer.write(path, fill_with_zeros).ok());

  const auto file = GgufFile::open(path).value();
  for (const auto& [key, value] : values) {
    const GgufValue* got = file->find(key);
    ASSERT_NE(got, nullptr) << key;
    EXPECT_EQ(got->type, value.type) << key;
    if (const GgufArray* array = value.as_array()) {
      ASSERT_NE(got->as_array(), nullptr) << key;
      EXPECT_EQ(got->as_array()->element_type, array->element_type) << key;
      EXPECT_EQ(got->as_array()->elements, array->elements) << key;
    } else {
      EXPECT_EQ(got->as_int(), value.as_int()) << key;
      EXPECT_EQ(got->as_float(), value.as_float()) << key;
      EXPECT_EQ(got->as_bool(), value.as_bool()) << key;
      EXPECT_EQ(got->as_string(), value.as_string()) << key;
    }
  }
}

TEST_F(GgufWriterTest, TensorsRoundTrip) {
  for (const std::uint32_t alignment : {8u, 32u, 4096u}) {
    GgufWriter writer(alignment);
    writer.set_string("general.architecture", "none");
    writer.declare_tensor("odd", ElementType::kF32, {3});
    writer.declare_tensor("blocks", ElementType::kQ6_K, {512, 3});
    // Over 32 MiB, so that it is written in several chunks.
    writer.declare_tensor("big", ElementType::kQ4_0, {1024, 30000, 2});
    writer.declare_tensor("four", ElementType::kBF16, {2, 3, 4, 5});
    const auto path = directory_ / "tensors.gguf";
    ASSERT_TRUE(writer.write(path, fill_with_pattern).ok());
    EXPECT_EQ(writer.file_bytes(), static_cast<std::int64_t>(std::filesystem::file_size(path)));

    const auto file = GgufFile::open(path).value();
    ASSERT_EQ(file->tensors().size(), 4u);
    EXPECT_EQ(file->tensors()[1].type, ElementType::kQ6_K);
    EXPECT_EQ(file->tensors()[3].dims, (std::vector<std::int64_t>{2, 3, 4, 5}));
    for (std::size_t i = 0; i < file->tensors().size(); ++i) {
      const GgufTensor& tensor = file->tensors()[i];
      std::size_t num_wrong = 0;
      for (std::size_t at = 0; at < tensor.data.size(); ++at)
        num_wrong += tensor.data[at] != pattern(i, static_cast<std::int64_t>(at)) ? 1 : 0;
      EXPECT_EQ(num_wrong, 0u) << tensor.name;
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data.data()) % alignment, 0u);
    }
  }
}

TEST_F(GgufWriterTest, AFailureLeavesTheOldFile) {
  const auto path = directory_ / "model.gguf";
  GgufWriter good;
  good.set_u32("good", 1);
  ASSERT_TRUE(good.write(path, fill_with_zeros).ok());

  GgufWriter bad;
  bad.declare_tensor("t", ElementType::kF32, {4});
  const auto refuse = [](std::size_t, std::int64_t, std::span<std::byte>) -> Status {
    return invalid_argument("no weights");
  };
  const auto status = bad.write(path, refuse);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().what, "no weights");
  EXPECT_EQ(*GgufFile::open(path).value()->get_uint("good"), 1u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1);
}

TEST_F(GgufWriterTest, SaysWhereItCannotWrite) {
  const auto status = GgufWriter().write(directory_ / "none" / "m.gguf", fill_with_zeros);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_THAT(status.error().to_string(), HasSubstr("none/m.gguf: cannot write (got No such file"));
}

TEST_F(GgufWriterTest, ReplacesNothingButFiles) {
  const auto pipe = directory_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto status = GgufWriter().write(pipe, fill_with_zeros);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().to_string(), HasSubstr("pipe: cannot write: not a regular file"));
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

TEST(GgufWriterDeathTest, BugsOfTheCallerStop) {
  GgufWriter writer;
  writer.set_u32("key", 1);
  EXPECT_DEATH(writer.set_u32("key", 2), "key");
  EXPECT_DEATH(writer.declare_tensor("half", ElementType::kQ4_0, {48}), "half");
  EXPECT_DEATH(writer.declare_tensor("none", ElementType::kF32, {0}), "none");
}

}  // namespace
}  // namespace tandem
