#include "text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tandem {
namespace {

using ::testing::ElementsAre;

std::vector<std::string_view> split(std::string_view name, std::string_view text) {
  const PreTokenizerSpec* spec = find_pre_tokenizer(name);
  EXPECT_NE(spec, nullptr) << name;
  return PreTokenizer::create(*spec).value()->split(text);
}

TEST(PreTokenizer, EveryPatternOfTheCatalogueCompiles) {
  for (const PreTokenizerSpec& spec : all_pre_tokenizers()) {
    const auto result = PreTokenizer::create(spec);
    EXPECT_TRUE(result.ok()) << spec.names.front() << ": " << result.error().to_string();
  }
}

TEST(PreTokenizer, KnowsTheNamesThatFilesUse) {
  for (const char* name :
       {"default",   "gpt-2",        "llama-bpe",      "llama-v3", "llama3",
        "qwen2",     "deepseek-llm", "deepseek-coder", "falcon",   "starcoder",
        "refact",    "mpt",          "command-r",      "tekken",   "gpt-4o",
        "smaug-bpe", "chatglm-bpe",  "smollm",         "olmo",     "deepseek-v3"}) {
    EXPECT_NE(find_pre_tokenizer(name), nullptr) << name;
  }
  EXPECT_EQ(find_pre_tokenizer("no-such"), nullptr);
}

TEST(PreTokenizer, Gpt2) {
  EXPECT_THAT(split("gpt-2", "I'll go  home, 123!\n\n x"),
              ElementsAre("I", "'ll", " go", " ", " home", ",", " 123", "!", "\n\n", " x"));
  EXPECT_THAT(split("gpt-2", "a\n b"), ElementsAre("a", "\n", " b"));
}

TEST(PreTokenizer, Llama3) {
  EXPECT_THAT(split("llama-bpe", "I'LL pay $12345.\n\n"),
              ElementsAre("I", "'LL", " pay", " $", "123", "45", ".\n\n"));
  // A letter that PCRE2 would fold to "s" is no contraction.
  EXPECT_THAT(split("llama-bpe", "a'ſ"), ElementsAre("a", "'ſ"));
}

TEST(PreTokenizer, Qwen2TakesDigitsOneByOne) {
  EXPECT_THAT(split("qwen2", "x 12"), ElementsAre("x", " ", "1", "2"));
}

TEST(PreTokenizer, StarcoderTakesDigitsOutFirst) {
  EXPECT_THAT(split("starcoder", "v12 a"), ElementsAre("v", "1", "2", " a"));
}

TEST(PreTokenizer, FalconCutsDigitsByThree) {
  EXPECT_THAT(split("falcon", " 1234`"), ElementsAre(" ", "123", "4", "`"));
}

TEST(PreTokenizer, DeepseekFindsTrailingSpacesOnly) {
  EXPECT_THAT(split("deepseek-llm", "a  \t"), ElementsAre("a", "  \t"));
  EXPECT_THAT(split("deepseek-llm", "  漢"), ElementsAre("  ", "漢"));
}

TEST(PreTokenizer, TekkenCutsWhereTheCaseRises) {
  EXPECT_THAT(split("tekken", "camelCase HTTPServer"), ElementsAre("camel", "Case", " HTTPServer"));
  EXPECT_THAT(split("tekken", "écoleÉcole 12"), ElementsAre("école", "École", " ", "1", "2"));
}

TEST(PreTokenizer, Gpt4oKeepsContractionsWithTheirWord) {
  EXPECT_THAT(split("gpt-4o", "I'll don't 1234 a/b\n/"),
              ElementsAre("I'll", " don't", " ", "123", "4", " a", "/b", "\n", "/"));
}

TEST(PreTokenizer, TheMongolianVowelSeparatorIsNoSpace) {
  EXPECT_THAT(split("gpt-2", "!\u180E!"), ElementsAre("!\u180E!"));
  EXPECT_THAT(split("gpt-2", "!\u3000!"), ElementsAre("!", "\u3000", "!"));
}

TEST(PreTokenizer, InvalidBytesAreWordsOfTheirOwn) {
  EXPECT_THAT(split("gpt-2",
                    "ab\xFF\xC0"
                    "cd\xE2\x82"),
              ElementsAre("ab", "\xFF\xC0", "cd", "\xE2\x82"));
  EXPECT_THAT(split("gpt-2", ""), ElementsAre());
}

}  // namespace
}  // namespace tandem
