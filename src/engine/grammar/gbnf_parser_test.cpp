#include "engine/grammar/gbnf_parser.h"

#include <gtest/gtest.h>

#include "engine/grammar/matching_for_test.h"
#include "engine/grammar/utf8_ranges.h"
#include "text/utf8.h"

namespace tandem {
namespace {

struct Example {
  const char* grammar;
  std::vector<std::string> accepted;
  std::vector<std::string> rejected;
};

TEST(Gbnf, MatchesWhatTheGrammarSays) {
  const Example examples[] = {
      {R"(root ::= "abc")", {"abc"}, {"", "ab", "abcd", "xbc"}},
      {R"(root ::= "a" | "b" "c" | "")", {"a", "bc", ""}, {"b", "ab"}},
      {"root ::= [a-c]+ [^x-z0-9]", {"ab!", "caé"}, {"!", "d", "ab9", "dx"}},
      {"root ::= .", {"x", "é", "世", "🙂", "\n"}, {"", "ab", "\xC3"}},
      {"root ::= [a-]\n", {"a", "-"}, {"b"}},
      {R"(root ::= [\]\[\\"\n] "\"\\\n\t\x41\u00e9\U0001F642")",
       {"]\"\\\n\tAé🙂", "\n\"\\\n\tAé🙂"},
       {"x"}},
      {"root ::= \"a\"* \"b\"? \"c\"+", {"c", "aabcc", "aacc"}, {"", "ab", "bb", "abbc"}},
      {"root ::= \"a\"{2}", {"aa"}, {"a", "aaa"}},
      {"root ::= \"ab\"{2,}", {"abab", "ababab"}, {"ab", "aba"}},
      {"root ::= [0-9]{1,3}", {"1", "12", "123"}, {"", "1234"}},
      {"root ::= \"a\"{0}", {""}, {"a"}},
      {"root ::= (\"a\" | \"b\" (\"c\" | \"d\")+)* \"e\"", {"e", "aae", "bcdbce"}, {"be", "ce"}},
      {"root ::= ((\"a\"*)*)*", {"", "a", "aaaa"}, {"b"}},
      {"root ::= (\"a\"? \"b\"?)* \"c\"", {"c", "abbac", "bc"}, {"", "ab"}},
      {"# comment\nroot ::= # why\n  list  # not\n\nlist ::= \"[\" (item (\",\" item)*)? "
       "\"]\"\n\nitem ::= [a-z]+ | list\n",
       {"[]", "[a,b]", "[[],[x,[y]]]"},
       {"[", "[a,]", "[[]"}},
      {"root ::= (\n  \"a\" |\n  \"b\"\n) \"c\"", {"ac", "bc"}, {"a"}},
      {"root ::= \"a\"\n  | \"b\"\nother ::= \"c\"", {"a", "b"}, {"c"}},
      {"root ::= a-b_c\na-b_c ::= \"x\"\r\n", {"x"}, {""}},
      // Not regular, and ambiguous.
      {"root ::= \"a\" root \"a\" | \"b\" root \"b\" | \"\"", {"", "aa", "abba"}, {"ab", "a"}},
      {"root ::= (\"a\" | \"a\" \"a\")* \"b\"", {"aaaaaab", "b"}, {"aaaa"}},
      {"root ::= [à-ÿ]+ | [一-龥]{2} | [\\U0001F600-\\U0001F64F]",
       {"éàÿ", "世界", "🙂"},
       {"z", "世", "🤖"}},
  };
  for (const Example& example : examples) {
    const auto grammar = parse_gbnf(example.grammar);
    ASSERT_TRUE(grammar.ok()) << example.grammar << "\n" << grammar.error().to_string();
    for (const auto& text : example.accepted)
      EXPECT_TRUE(matches(*grammar, text)) << example.grammar << "\n" << text;
    for (const auto& text : example.rejected)
      EXPECT_FALSE(matches(*grammar, text)) << example.grammar << "\n" << text;
  }
}

TEST(Gbnf, ErrorsSayWhere) {
  const auto error = [](const std::string& text) {
    const auto grammar = parse_gbnf(text);
    return grammar.ok() ? "no error" : grammar.error().to_string();
  };
  EXPECT_EQ(error(""), "the grammar has no rule 'root'");
  EXPECT_EQ(error("x ::= \"a\""), "the grammar has no rule 'root'");
  EXPECT_EQ(error("root ::= missing"), "rule 'missing' is not defined");
  EXPECT_EQ(error("root ::= \"a\nb\""),
            "grammar, line 1, column 12: a text does not end on its line");
  EXPECT_EQ(error("root ::= [a"),
            "grammar, line 1, column 12: the grammar ends inside of a text or class");
  EXPECT_EQ(error("root ::= (\"a\""), "grammar, line 1, column 14: an open group (expected ')')");
  EXPECT_EQ(error("root ::= \"a\" )"),
            "grammar, line 1, column 14: unexpected text (expected the end of the line)");
  EXPECT_EQ(error("root = \"a\""), "grammar, line 1, column 6: no rule (expected '::=')");
  EXPECT_EQ(error("root ::= \"a\"\nroot ::= \"b\""),
            "grammar, line 2, column 9: rule 'root' is defined twice");
  EXPECT_EQ(error("root ::= \"\\q\""), "grammar, line 1, column 12: unknown escape");
  EXPECT_EQ(error("root ::= [z-a]"), "grammar, line 1, column 14: a range runs backwards");
  EXPECT_EQ(error("root ::= \"a\"{3,2}"),
            "grammar, line 1, column 18: a repetition of at most fewer than at least");
  EXPECT_EQ(error("root ::= \"\\uD800\""), "grammar, line 1, column 17: not a character");
  EXPECT_EQ(error("root ::= \"\xFF\""), "grammar, line 1, column 11: invalid UTF-8");
}

TEST(Gbnf, LeftRecursionIsRefused) {
  for (const char* text :
       {"root ::= root \"a\" | \"b\"", "root ::= root",
        "root ::= a\na ::= b \"x\"\nb ::= a | \"y\"",
        "root ::= a root \"x\" | \"y\"\na ::= \"\" | \"z\"", "root ::= \"a\"? (root)? \"b\""}) {
    const auto grammar = parse_gbnf(text);
    ASSERT_FALSE(grammar.ok()) << text;
    EXPECT_NE(grammar.error().what.find("refers to itself"), std::string::npos)
        << grammar.error().what;
  }
}

TEST(Gbnf, HostileGrammarsEndInErrors) {
  const std::string deep(50'000, '(');
  EXPECT_FALSE(parse_gbnf("root ::= " + deep).ok());
  EXPECT_FALSE(parse_gbnf("root ::= " + deep + "\"a\"" + std::string(50'000, ')')).ok());
  EXPECT_FALSE(parse_gbnf("root ::= \"a\"{999999999}").ok());
  EXPECT_FALSE(parse_gbnf("root ::= \"a\"{99999999999999999999999}").ok());
  // Each alone is allowed, all together are too large.
  std::string many = "root ::= x\n";
  for (int i = 0; i < 60; ++i) many += "r" + std::to_string(i) + " ::= \"a\"{90000}\n";
  EXPECT_FALSE(parse_gbnf(many + "x ::= \"a\"").ok());
  EXPECT_FALSE(parse_gbnf(std::string(2 << 20, '#')).ok());
  // A chain of rules is not deep.
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 50'000; ++i)
    chain += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + "\n";
  const auto grammar = parse_gbnf(chain + "r50000 ::= \"a\"");
  ASSERT_TRUE(grammar.ok()) << grammar.error().to_string();
  EXPECT_TRUE(matches(*grammar, "a"));
}

TEST(Utf8Ranges, CoverExactlyTheirCodePoints) {
  const std::pair<char32_t, char32_t> kRanges[] = {
      {0, 0x10FFFF},    {0x41, 0x41},     {0x7F, 0x80},   {0x7FF, 0x800},       {0xFFFF, 0x10000},
      {0xD7F0, 0xE010}, {0x3A3, 0x10453}, {0x801, 0xFFF}, {0x10FFFF, 0x10FFFF}, {0x20000, 0x2A6DF}};
  for (const auto& [first, last] : kRanges) {
    const auto alternatives = utf8_ranges(first, last);
    for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x11000 ? 1 : 61) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string text;
      append_utf8(text, c);
      int num_matching = 0;
      for (const ByteRanges& run : alternatives) {
        bool fits = run.size() == text.size();
        for (std::size_t i = 0; fits && i < run.size(); ++i) {
          const auto byte = static_cast<std::uint8_t>(text[i]);
          fits = byte >= run[i].first && byte <= run[i].second;
        }
        num_matching += fits;
      }
      ASSERT_EQ(num_matching, c >= first && c <= last) << std::hex << static_cast<std::uint32_t>(c);
    }
  }
}

}  // namespace
}  // namespace tandem
