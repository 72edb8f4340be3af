#include "tensor/element_type.h"

#include <gtest/gtest.h>

#include <limits>

namespace tandem {
namespace {

TEST(ElementType, IdsAndNamesRoundTrip) {
  for (const ElementTypeTraits& traits : all_element_types()) {
    const auto id = static_cast<std::uint32_t>(traits.type);
    EXPECT_EQ(element_type_from_id(id), traits.type) << traits.name;
    EXPECT_EQ(element_type_from_name(traits.name), traits.type) << traits.name;
    EXPECT_EQ(name_of_ggml_type(id), traits.name);
    EXPECT_EQ(traits_of(traits.type).name, traits.name);
  }
  EXPECT_EQ(element_type_from_name("q4_k"), ElementType::kQ4_K);
  EXPECT_EQ(element_type_from_name("q4_"), std::nullopt);
  EXPECT_EQ(element_type_from_name(""), std::nullopt);
}

TEST(ElementType, UnreadableTypesHaveNames) {
  EXPECT_EQ(element_type_from_id(16), std::nullopt);
  EXPECT_EQ(name_of_ggml_type(16), "IQ2_XXS");
  EXPECT_EQ(name_of_ggml_type(4), "Q4_2");
  EXPECT_EQ(name_of_ggml_type(29), "IQ1_M");
  EXPECT_EQ(name_of_ggml_type(41), "Q1_0");
  EXPECT_EQ(name_of_ggml_type(77), "type 77");
  EXPECT_EQ(name_of_ggml_type(0xffffffff), "type 4294967295");
}

TEST(ElementType, BlocksHaveGgmlsSizes) {
  // Bits per weight as ggml documents them: 4.5 for Q4_0 and Q4_K, 6.5625 for Q6_K, ...
  const auto bits = [](ElementType type) {
    return 8.0 * traits_of(type).block_bytes / traits_of(type).block_elements;
  };
  EXPECT_EQ(bits(ElementType::kQ4_0), 4.5);
  EXPECT_EQ(bits(ElementType::kQ5_1), 6.0);
  EXPECT_EQ(bits(ElementType::kQ8_0), 8.5);
  EXPECT_EQ(bits(ElementType::kQ2_K), 2.625);
  EXPECT_EQ(bits(ElementType::kQ3_K), 3.4375);
  EXPECT_EQ(bits(ElementType::kQ4_K), 4.5);
  EXPECT_EQ(bits(ElementType::kQ5_K), 5.5);
  EXPECT_EQ(bits(ElementType::kQ6_K), 6.5625);
  EXPECT_EQ(bits(ElementType::kIQ4_XS), 4.25);
  EXPECT_EQ(bits(ElementType::kMXFP4), 4.25);
}

TEST(ElementType, BytesRefuseWhatIsNoWholeBlocks) {
  EXPECT_EQ(bytes_of(ElementType::kQ4_0, 64), 36);
  EXPECT_EQ(bytes_of(ElementType::kQ4_0, 0), 0);
  EXPECT_EQ(bytes_of(ElementType::kQ4_0, 33), std::nullopt);
  EXPECT_EQ(bytes_of(ElementType::kQ4_K, 32), std::nullopt);
  EXPECT_EQ(bytes_of(ElementType::kF32, -4), std::nullopt);
  EXPECT_EQ(bytes_of(ElementType::kF32, std::numeric_limits<std::int64_t>::max() / 2),
            std::nullopt);
}

}  // namespace
}  // namespace tandem
