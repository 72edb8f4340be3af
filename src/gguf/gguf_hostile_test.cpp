// Images that break the format: each must be refused with an error that says where, never crash,
// hang or allocate what the file only claims to hold. CTest repeats this under the sanitizers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "gguf/gguf_file.h"
#include "gguf/image_builder_for_test.h"
#include "gguf/mapped_file.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMax = ~std::uint64_t{0};
constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kQ4_0 = 2;

std::string refusal_of(const ImageBuilder& image) {
  const auto parsed = GgufFile::parse(image.bytes(), "evil.gguf");
  return parsed.ok() ? "(accepted)" : parsed.error().to_string();
}

ErrorCode code_of(const ImageBuilder& image) {
  const auto parsed = GgufFile::parse(image.bytes(), "evil.gguf");
  return parsed.ok() ? ErrorCode::kInternal : parsed.error().code;
}

// A file with one tensor of these dimensions, 4 KiB of data behind it.
ImageBuilder one_tensor(const std::vector<std::uint64_t>& dims, std::uint32_t type = kF32,
                        std::uint64_t offset = 0) {
  return ImageBuilder().header(1, 0).tensor("t", dims, type, offset).pad_to(32).zeros(4096);
}

TEST(GgufHostile, NoGguf) {
  EXPECT_EQ(
      refusal_of(ImageBuilder()),
      "evil.gguf: byte 0: the file ends inside the magic number (expected 4 bytes, got 0 left)");
  EXPECT_EQ(refusal_of(ImageBuilder().text("GGML").zeros(100)),
            "evil.gguf: byte 0: not a GGUF file (expected \"GGUF\", got 'GGML')");
  EXPECT_THAT(refusal_of(ImageBuilder().raw<std::uint32_t>(0xffff0001)), HasSubstr("'\\x01\\x00"));
}

TEST(GgufHostile, OtherVersions) {
  EXPECT_EQ(refusal_of(ImageBuilder().header(0, 0, 1)),
            "evil.gguf: byte 4: GGUF version (expected 2 or 3, got 1)");
  EXPECT_EQ(code_of(ImageBuilder().header(0, 0, 4)), ErrorCode::kUnsupported);
  EXPECT_THAT(refusal_of(ImageBuilder().header(0, 0, 0x03000000)), HasSubstr("big-endian"));
}

TEST(GgufHostile, HugeCounts) {
  for (const std::uint64_t count : {kMax, kMax / 2, std::uint64_t{1} << 60, std::uint64_t{8}}) {
    EXPECT_THAT(refusal_of(ImageBuilder().header(0, count).zeros(100)),
                HasSubstr("byte 16: more keys than the file can hold (expected at most 7"));
    EXPECT_THAT(refusal_of(ImageBuilder().header(count, 0).zeros(100)),
                HasSubstr("byte 8: more tensors than the file can hold (expected at most 4"));
  }
}

TEST(GgufHostile, KeyLengths) {
  EXPECT_EQ(refusal_of(ImageBuilder().header(0, 1).raw(kMax).zeros(100)),
            "evil.gguf: byte 32: the file ends inside a key "
            "(expected 18446744073709551615 bytes, got 100 left)");
  EXPECT_THAT(refusal_of(ImageBuilder().header(0, 1).raw<std::uint64_t>(101).zeros(100)),
              HasSubstr("expected 101 bytes, got 100 left"));
  EXPECT_THAT(refusal_of(ImageBuilder().header(0, 1).string("").zeros(100)),
              HasSubstr("byte 24: length of a key (expected 1 to 65535, got 0)"));
  EXPECT_THAT(refusal_of(ImageBuilder().header(0, 1).raw<std::uint64_t>(65536).zeros(70000)),
              HasSubstr("got 65536"));
}

TEST(GgufHostile, ValueTypes) {
  EXPECT_THAT(refusal_of(ImageBuilder().header(0, 1).key("k", GgufType{13}).zeros(100)),
              HasSubstr("key 'k': byte 33: type of a value (expected 0 to 12, got 13)"));
  EXPECT_THAT(refusal_of(ImageBuilder().header(0, 1).array("k", GgufType{99}, 1).zeros(100)),
              HasSubstr("key 'k'"));
  EXPECT_THAT(
      refusal_of(ImageBuilder().header(0, 1).key("k", GgufType::kBool).raw<std::uint8_t>(2)),
      HasSubstr("a bool (expected 0 or 1, got 2)"));
  EXPECT_THAT(
      refusal_of(ImageBuilder().header(0, 1).array("k", GgufType::kBool, 1).raw<std::uint8_t>(7)),
      HasSubstr("a bool in an array (expected 0 or 1, got 7)"));
}

TEST(GgufHostile, ArraysOfArraysAreUnsupported) {
  ImageBuilder image;
  image.header(0, 1).array("k", GgufType::kArray, 1).zeros(100);
  EXPECT_EQ(code_of(image), ErrorCode::kUnsupported);
  EXPECT_THAT(refusal_of(image), HasSubstr("key 'k': byte 37: array of arrays"));
}

TEST(GgufHostile, StringLengths) {
  const auto with_length = [](std::uint64_t length) {
    return ImageBuilder().header(0, 1).key("k", GgufType::kString).raw(length).zeros(64);
  };
  for (const std::uint64_t length : {kMax, kMax - 44, std::uint64_t{1} << 63, std::uint64_t{65}})
    EXPECT_THAT(refusal_of(with_length(length)),
                HasSubstr("key 'k': byte 45: the file ends inside a string"));
  EXPECT_EQ(refusal_of(with_length(64)), "(accepted)");
}

TEST(GgufHostile, ArrayLengths) {
  for (const auto type : {GgufType::kU8, GgufType::kU16, GgufType::kF32, GgufType::kI64,
                          GgufType::kBool, GgufType::kString}) {
    for (const std::uint64_t count :
         {kMax, std::uint64_t{0x1000000000000001}, std::uint64_t{0x2000000000000001},
          std::uint64_t{1} << 61, std::uint64_t{1} << 63, std::uint64_t{1} << 40,
          std::uint64_t{65}}) {
      ImageBuilder image;
      image.header(0, 1).array("k", type, count).zeros(64);
      EXPECT_EQ(code_of(image), ErrorCode::kMalformed) << name_of(type) << " " << count;
      EXPECT_THAT(refusal_of(image), HasSubstr("evil.gguf: key 'k': byte "));
    }
  }
}

TEST(GgufHostile, ArrayDeclaresMoreStringsThanItHolds) {
  ImageBuilder image;
  image.header(0, 1).array("k", GgufType::kString, 9).zeros(64);
  EXPECT_THAT(refusal_of(image), HasSubstr("more strings than the file can hold (expected at most "
                                           "8, got 9)"));
  // Eight empty strings would fit, but the first one takes the room of the rest.
  ImageBuilder greedy;
  greedy.header(0, 1).array("k", GgufType::kString, 8).raw<std::uint64_t>(50).zeros(56);
  EXPECT_THAT(refusal_of(greedy), HasSubstr("the file ends inside a string of an array"));
}

TEST(GgufHostile, AllArraysTogetherAreBounded) {
  // 2^26 + 1 bytes in two arrays: well formed, but widened it would be 512 MiB and more.
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 25;
  ImageBuilder image;
  image.header(0, 2).array("a", GgufType::kU8, kHalf).zeros(kHalf);
  image.array("b", GgufType::kU8, kHalf + 1).zeros(kHalf + 1);
  EXPECT_EQ(code_of(image), ErrorCode::kUnsupported);
  EXPECT_THAT(refusal_of(image), HasSubstr("key 'b'"));
}

TEST(GgufHostile, Alignment) {
  const auto with = [](std::uint32_t alignment) {
    return ImageBuilder().header(0, 1).u32("general.alignment", alignment);
  };
  for (const std::uint32_t alignment : {0u, 1u, 4u, 12u, 24u, 33u, 0xffffffffu})
    EXPECT_EQ(refusal_of(with(alignment)),
              "evil.gguf: key 'general.alignment': alignment (expected a power of two, 8 or more, "
              "got " +
                  std::to_string(alignment) + ")");
  EXPECT_THAT(
      refusal_of(
          ImageBuilder().header(0, 1).key("general.alignment", GgufType::kU64).raw(kMax / 2 + 1)),
      HasSubstr("'general.alignment': wrong type (expected u32, got u64)"));
  EXPECT_THAT(
      refusal_of(
          ImageBuilder().header(0, 1).key("general.alignment", GgufType::kString).string("x")),
      HasSubstr("got string"));
  EXPECT_EQ(refusal_of(with(0x80000000)), "(accepted)");  // no tensors, so nothing to align
}

TEST(GgufHostile, AlignmentBeyondTheFile) {
  ImageBuilder image;
  image.header(1, 1).u32("general.alignment", 0x80000000);
  image.tensor("t", {4}, kF32, 0).zeros(100);
  EXPECT_THAT(refusal_of(image), HasSubstr("tensor 't': data past the end of the file"));
}

TEST(GgufHostile, Dimensions) {
  EXPECT_THAT(refusal_of(one_tensor({2, 2, 2, 2, 2})),
              HasSubstr("tensor 't': byte 33: number of dimensions (expected 1 to 4, got 5)"));
  EXPECT_THAT(refusal_of(ImageBuilder().header(1, 0).string("t").raw(0xffffffffu).zeros(100)),
              HasSubstr("got 4294967295"));
  EXPECT_THAT(refusal_of(one_tensor({0})),
              HasSubstr("a dimension (expected 1 to 2^63 - 1, got 0)"));
  EXPECT_THAT(refusal_of(one_tensor({32, 0})), HasSubstr("got 0"));
  EXPECT_THAT(refusal_of(one_tensor({kMax})), HasSubstr("got 18446744073709551615"));
  // Products that wrap to something small in 64 bits.
  for (const auto& dims : std::vector<std::vector<std::uint64_t>>{
           {std::uint64_t{1} << 32, std::uint64_t{1} << 32},
           {std::uint64_t{1} << 62, 4},
           {std::uint64_t{1} << 62, 2},
           {32, std::uint64_t{1} << 60},
           {0x100000001, 0x100000001, 0x100000001, 0x100000001}})
    EXPECT_THAT(refusal_of(one_tensor(dims)), HasSubstr("product of the dimensions"));
  // The count fits in 63 bits, four times as many bytes do not.
  EXPECT_THAT(refusal_of(one_tensor({std::uint64_t{1} << 61})), HasSubstr("size in bytes"));
  EXPECT_THAT(refusal_of(one_tensor({33}, kQ4_0)),
              HasSubstr("a row is no whole number of blocks (expected a multiple of 32 for Q4_0"));
}

TEST(GgufHostile, TypesAreRefusedByName) {
  for (const auto& [id, name] :
       std::vector<std::pair<std::uint32_t, std::string>>{{16, "IQ2_XXS"},
                                                          {4, "Q4_2"},
                                                          {9, "Q8_1"},
                                                          {31, "Q4_0_4_4"},
                                                          {40, "NVFP4"},
                                                          {77, "type 77"},
                                                          {0xffffffff, "type 4294967295"}}) {
    EXPECT_EQ(code_of(one_tensor({256}, id)), ErrorCode::kUnsupported);
    EXPECT_THAT(refusal_of(one_tensor({256}, id)), HasSubstr("tensor 't': byte 45: tensor type"));
    EXPECT_THAT(refusal_of(one_tensor({256}, id)), HasSubstr("got " + name + ")"));
  }
}

TEST(GgufHostile, OffsetsAndSizes) {
  EXPECT_EQ(refusal_of(one_tensor({1024})), "(accepted)");
  EXPECT_THAT(refusal_of(one_tensor({1025})), HasSubstr("data past the end of the file"));
  EXPECT_THAT(refusal_of(one_tensor({1024}, kF32, 32)), HasSubstr("within 4096 bytes of data"));
  EXPECT_THAT(refusal_of(one_tensor({8}, kF32, 4096)), HasSubstr("data past the end"));
  EXPECT_THAT(refusal_of(one_tensor({8}, kF32, 4)), HasSubstr("offset (expected a multiple of 32"));
  for (const std::uint64_t offset : {kMax - 31, kMax - 4095, std::uint64_t{1} << 63})
    EXPECT_THAT(refusal_of(one_tensor({1024}, kF32, offset)), HasSubstr("data past the end"));
  EXPECT_THAT(refusal_of(one_tensor({(std::uint64_t{1} << 61) - 1})),
              HasSubstr("data past the end"));
}

TEST(GgufHostile, SummedSizesThatWrap) {
  // Each of these sizes is legal alone; their sum is 2^64.
  ImageBuilder halves;
  halves.header(4, 0);
  for (const auto* name : {"a", "b", "c", "d"})
    halves.tensor(name, {std::uint64_t{1} << 61}, 1 /* F16 */, 0);
  halves.pad_to(32).zeros(64);
  EXPECT_THAT(refusal_of(halves), HasSubstr("tensor 'a': data past the end of the file"));
}

TEST(GgufHostile, OverlappingTensors) {
  ImageBuilder image;
  image.header(3, 0).tensor("b", {16}, kF32, 64).tensor("a", {32}, kF32, 0);
  image.tensor("c", {8}, kF32, 128).pad_to(32).zeros(256);
  EXPECT_EQ(refusal_of(image),
            "evil.gguf: tensor 'b': overlaps tensor 'a' (expected offset 128 or more, got 64)");
  ImageBuilder same;
  same.header(2, 0).tensor("a", {8}, kF32, 0).tensor("b", {8}, kF32, 0).pad_to(32).zeros(64);
  EXPECT_THAT(refusal_of(same), HasSubstr("overlaps"));
}

TEST(GgufHostile, Duplicates) {
  EXPECT_THAT(refusal_of(ImageBuilder().header(0, 2).u32("k", 1).u32("k", 1)),
              HasSubstr("byte 41: duplicate key 'k'"));
  ImageBuilder tensors;
  tensors.header(2, 0).tensor("t", {8}, kF32, 0).tensor("t", {8}, kF32, 32).pad_to(32).zeros(64);
  EXPECT_THAT(refusal_of(tensors), HasSubstr("duplicate tensor 't'"));
}

TEST(GgufHostile, NamesInMessagesAreCutAndEscaped) {
  ImageBuilder image;
  image.header(0, 1).key("\x1b[31m\n" + std::string(200, 'x'), GgufType{50});
  const std::string refusal = refusal_of(image);
  EXPECT_THAT(refusal, HasSubstr("'\\x1b[31m\\x0axxx"));
  EXPECT_THAT(refusal, HasSubstr("xxx...'"));
  EXPECT_LT(refusal.size(), 200u);
}

// A whole small file, of which every proper prefix is refused.
TEST(GgufHostile, CutAtEveryByte) {
  ImageBuilder image;
  image.header(2, 5).u32("general.alignment", 64);
  image.key("name", GgufType::kString).string("cut me");
  image.array("tokens", GgufType::kString, 3).string("a").string("").string("bc");
  image.array("scores", GgufType::kF32, 2).raw(0.5f).raw(1.5f);
  image.key("flag", GgufType::kBool).raw<std::uint8_t>(1);
  image.tensor("one", {16, 2}, kF32, 0).tensor("two", {32}, kQ4_0, 128).pad_to(64).zeros(128 + 18);
  ASSERT_EQ(refusal_of(image), "(accepted)");
  for (std::size_t size = 0; size < image.bytes().size(); ++size) {
    // A copy of its own, so that a read past the end is one past an allocation.
    const std::vector<std::byte> cut(image.bytes().begin(), image.bytes().begin() + size);
    const auto parsed = GgufFile::parse(cut, "cut.gguf");
    ASSERT_FALSE(parsed.ok()) << size;
    EXPECT_EQ(parsed.error().code, ErrorCode::kMalformed) << size;
    EXPECT_THAT(parsed.error().to_string(), HasSubstr("cut.gguf: "));
  }
}

TEST(GgufHostile, RealModelCutAtEveryByteOfItsFirst4KiB) {
  const std::filesystem::path path =
      std::filesystem::path(TANDEM_SHARED_DIR) / "reference/models/llama-q4_0.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto mapped = MappedFile::open(path).value();
  for (std::size_t size = 0; size < 4096; ++size) {
    const auto head = mapped->bytes().first(size);
    const std::vector<std::byte> cut(head.begin(), head.end());
    ASSERT_FALSE(GgufFile::parse(cut, "cut.gguf").ok()) << size;
  }
}

// Each byte of the header replaced by each of a few values: no claim about the outcome but that
// there is one.
TEST(GgufHostile, RealModelWithEveryHeaderByteChanged) {
  const std::filesystem::path path =
      std::filesystem::path(TANDEM_SHARED_DIR) / "reference/models/llama-q4_0.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto mapped = MappedFile::open(path).value();
  std::vector<std::byte> image(mapped->bytes().begin(), mapped->bytes().end());
  int num_refused = 0;
  for (std::size_t i = 0; i < 4096; ++i) {
    const std::byte original = image[i];
    for (const int value : {0x00, 0x7f, 0x80, 0xff}) {
      image[i] = static_cast<std::byte>(value);
      num_refused += GgufFile::parse(image, "changed.gguf").ok() ? 0 : 1;
    }
    image[i] = original;
  }
  EXPECT_GT(num_refused, 100);
  EXPECT_TRUE(GgufFile::parse(image, "restored.gguf").ok());
}

}  // namespace
}  // namespace tandem
