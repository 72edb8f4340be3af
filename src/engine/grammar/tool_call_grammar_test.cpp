#include "engine/grammar/tool_call_grammar.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/grammar/grammar_constraint.h"
#include "engine/grammar/matching_for_test.h"
#include "text/tool_calls/tool_call_parser.h"
#include "text/vocabularies_for_test.h"

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

Json tools() {
  return Json::parse(R"([
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object",
      "properties": {"city": {"enum": ["Oslo", "Rom"]}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "now"}}])");
}

constexpr ToolCallFormat kFormats[] = {
    ToolCallFormat::kHermes,         ToolCallFormat::kLlama3,
    ToolCallFormat::kMistral,        ToolCallFormat::kFunctionaryV31,
    ToolCallFormat::kFunctionaryV32, ToolCallFormat::kDeepSeek,
    ToolCallFormat::kCommandR7b,     ToolCallFormat::kCommandRPlus,
    ToolCallFormat::kFirefunction};

// Whatever the grammar allows, the parser of the same format reads as calls and nothing else.
TEST(ToolCallGrammar, IsReadBackByTheParser) {
  std::mt19937 random(2);
  for (const ToolCallFormat format : kFormats) {
    const auto grammar = tool_call_grammar(format, tools(), true);
    ASSERT_TRUE(grammar.ok()) << grammar.error().to_string();
    int num_calls = 0;
    for (int round = 0; round < 40; ++round) {
      const std::string text = random_sentence(*grammar, random, byte_trie(), 400);
      if (text.empty()) continue;
      ToolCallParser parser({.format = format, .tool_names = {"get_weather", "now"}});
      ChatDelta delta = parser.push(text);
      const ChatDelta rest = parser.finish();
      EXPECT_EQ(delta.content + rest.content, "") << name_of(format) << ": " << text;
      EXPECT_GT(parser.num_calls(), 0) << name_of(format) << ": " << text;
      num_calls += parser.num_calls();
      for (const ToolCallDelta& call : delta.calls) {
        EXPECT_TRUE(Json::accept(call.arguments)) << name_of(format) << ": " << text;
      }
    }
    EXPECT_GT(num_calls, 20) << name_of(format);
  }
}

TEST(ToolCallGrammar, HoldsArgumentsToTheirSchema) {
  const auto grammar = tool_call_grammar(ToolCallFormat::kLlama3, tools(), false);
  ASSERT_TRUE(grammar.ok());
  EXPECT_TRUE(matches(*grammar, R"({"name": "get_weather", "parameters": {"city": "Oslo"}})"));
  EXPECT_TRUE(matches(*grammar, R"({"name": "now", "parameters": {"any": [1]}})"));
  EXPECT_FALSE(matches(*grammar, R"({"name": "get_weather", "parameters": {"city": "Bonn"}})"));
  EXPECT_FALSE(matches(*grammar, R"({"name": "other", "parameters": {}})"));
  EXPECT_FALSE(matches(*grammar, "Hello"));
  EXPECT_FALSE(
      matches(*grammar, R"({"name": "now", "parameters": {}}; {"name": "now", "parameters": {}})"));
}

TEST(ToolCallGrammar, SchemasThatNoGrammarCanSayAreAnErrorOnlyWhereStrict) {
  Json one = Json::parse(R"([{"function": {"name": "f", "parameters": {"not": {}}}}])");
  const auto loose = tool_call_grammar(ToolCallFormat::kLlama3, one, false);
  ASSERT_TRUE(loose.ok()) << loose.error().to_string();
  EXPECT_TRUE(matches(*loose, R"({"name": "f", "parameters": {"x": 1}})"));
  one[0]["function"]["strict"] = true;
  EXPECT_FALSE(tool_call_grammar(ToolCallFormat::kLlama3, one, false).ok());
  EXPECT_FALSE(tool_call_grammar(ToolCallFormat::kLlama3, Json::array(), false).ok());
  EXPECT_FALSE(tool_call_grammar(ToolCallFormat::kLlama3, Json::parse("[{}]"), false).ok());
}

TEST(TokenTrieTest, ControlTokensMayStandForTheirText) {
  const std::shared_ptr<const Tokenizer> tokenizer = make_tokenizer(small_bpe_fields());
  GrammarBuilder builder;
  const auto root = builder.declare("root");
  ASSERT_TRUE(builder.define(root, text_expr("<|bos|>")).ok());
  const auto grammar = std::make_shared<const Grammar>(std::move(builder).build(root).value());
  for (const bool with_control : {false, true}) {
    const auto trie = std::make_shared<const TokenTrie>(TokenTrie::of(*tokenizer, with_control));
    std::vector<float> logits(static_cast<std::size_t>(tokenizer->vocabulary().size()), 0.0f);
    GrammarConstraint(grammar, trie, tokenizer).mask(logits);
    EXPECT_EQ(std::isfinite(logits[0]), with_control);  // <|bos|>
    EXPECT_TRUE(std::isfinite(logits[5 + '<']));
  }
}

}  // namespace
}  // namespace tandem
