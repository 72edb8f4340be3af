#include "server/json_text.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "server/field_reader.h"

namespace tandem {
namespace {

std::string object_of(int num_keys) {
  std::string text = "{";
  for (int i = 0; i < num_keys; ++i) {
    text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":0";
  }
  return text + "}";
}

TEST(JsonText, CountsComparisonsOfKeys) {
  EXPECT_EQ(json_key_comparisons("[1, 2]"), 0u);
  EXPECT_EQ(json_key_comparisons(R"({"a": 1})"), 0u);
  EXPECT_EQ(json_key_comparisons(R"({"a": 1, "b": ":\":", "c": {"d": 1, "e": 2}})"),
            0u + 1 + 2 + 1);
  EXPECT_EQ(json_key_comparisons(R"([{"a": 1, "b": 1}, {"a": 1, "b": 1}])"), 2u);
  EXPECT_EQ(json_key_comparisons("}}::"), 1u);
}

TEST(JsonText, BodiesOfTooManyKeysAreRefusedAtOnce) {
  EXPECT_TRUE(std::holds_alternative<Json>(parse_body(object_of(2'000))));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(std::holds_alternative<ApiError>(parse_body(object_of(1'000'000))));
  std::string many = "{\"a\": [";
  for (int i = 0; i < 300; ++i) many += (i > 0 ? "," : "") + object_of(3'000);
  EXPECT_TRUE(std::holds_alternative<ApiError>(parse_body(many + "]}")));
  // Parsing these would take minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace tandem
