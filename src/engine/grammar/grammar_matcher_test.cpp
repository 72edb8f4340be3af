#include "engine/grammar/grammar_matcher.h"

#include <gtest/gtest.h>

#include "engine/grammar/gbnf_parser.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/matching_for_test.h"
#include "text/utf8.h"

namespace tandem {
namespace {

std::shared_ptr<const Grammar> grammar_of(const std::string& text) {
  auto grammar = parse_gbnf(text);
  EXPECT_TRUE(grammar.ok()) << grammar.error().to_string();
  return std::make_shared<const Grammar>(std::move(grammar).value());
}

bool is_allowed(GrammarMatcher& matcher, std::int32_t token) {
  return (matcher.allowed_tokens()[static_cast<std::size_t>(token) / 64] >> (token % 64)) & 1;
}

TEST(GrammarMatcherTest, AllowsExactlyTheTokensThatFit) {
  const std::vector<std::string> pieces = {"a", "ab", "abc", "b", "bc", "c", "", "abcd", "ab", "x"};
  GrammarMatcher matcher(grammar_of("root ::= \"abc\" \"d\"?"),
                         std::make_shared<const TokenTrie>(pieces));
  const auto allowed = [&] {
    std::string names;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (is_allowed(matcher, static_cast<std::int32_t>(i))) names += std::to_string(i) + " ";
    }
    return names;
  };
  EXPECT_EQ(allowed(), "0 1 2 7 8 ");
  EXPECT_TRUE(matcher.accept(0));
  EXPECT_EQ(allowed(), "3 4 ");
  EXPECT_FALSE(matcher.may_end());
  EXPECT_TRUE(matcher.accept(4));
  EXPECT_TRUE(matcher.may_end());
  EXPECT_EQ(allowed(), "");
  EXPECT_FALSE(matcher.accept(0));
  EXPECT_TRUE(matcher.is_dead());
  EXPECT_EQ(allowed(), "");
}

TEST(GrammarMatcherTest, TokensMayEndInsideACharacter) {
  // é is C3 A9, 🙂 is F0 9F 99 82.
  const std::vector<std::string> pieces = {"\xC3", "\xA9",     "\xF0\x9F", "\x99\x82",
                                           "\x99", "\x82\xC3", "\xE4"};
  GrammarMatcher matcher(grammar_of("root ::= [é🙂]+"),
                         std::make_shared<const TokenTrie>(pieces));
  EXPECT_TRUE(is_allowed(matcher, 0) && is_allowed(matcher, 2));
  EXPECT_FALSE(is_allowed(matcher, 1) || is_allowed(matcher, 6));
  EXPECT_TRUE(matcher.accept(2));
  EXPECT_FALSE(is_allowed(matcher, 0));
  EXPECT_TRUE(is_allowed(matcher, 3) && is_allowed(matcher, 4));
  EXPECT_TRUE(matcher.accept(4));
  EXPECT_FALSE(matcher.may_end());
  EXPECT_TRUE(matcher.accept(5));  // ends one character and begins the next
  EXPECT_FALSE(matcher.may_end());
  EXPECT_TRUE(matcher.accept(1));
  EXPECT_TRUE(matcher.may_end());
}

// Masks from the trie and the automaton against trying every token by itself.
TEST(GrammarMatcherTest, MasksAgreeWithTryingEachToken) {
  std::mt19937 random(7);
  std::vector<std::string> pieces;
  const std::string alphabet = "{}[]\",:ab01 -.e\\n\n\xC3\xA9";
  for (int i = 0; i < 600; ++i) {
    std::string piece;
    for (std::size_t length = random() % 5; length > 0; --length)
      piece += alphabet[random() % alphabet.size()];
    pieces.push_back(piece);
  }
  const auto trie = std::make_shared<const TokenTrie>(pieces);
  const auto grammar = std::make_shared<const Grammar>(*any_json_object_grammar());
  int num_checked = 0;
  for (int round = 0; round < 6; ++round) {
    GrammarMatcher matcher(grammar, trie);
    std::string text;
    for (int i = 0; i < 12; ++i) {
      std::vector<std::int32_t> allowed;
      for (std::int32_t token = 0; token < trie->vocabulary_size(); ++token) {
        const auto& piece = pieces[static_cast<std::size_t>(token)];
        GrammarMatcher probe(grammar, trie);
        const bool fits = !piece.empty() && probe.accept(bytes_of(text + piece));
        ASSERT_EQ(is_allowed(matcher, token), fits) << text << " then " << piece;
        if (fits) allowed.push_back(token);
        ++num_checked;
      }
      if (allowed.empty()) break;
      const auto token = allowed[random() % allowed.size()];
      text += pieces[static_cast<std::size_t>(token)];
      ASSERT_TRUE(matcher.accept(token));
    }
  }
  EXPECT_GT(num_checked, 15'000);
}

TEST(GrammarMatcherTest, LongTextsDoNotGrowIt) {
  const auto trie = byte_trie();
  GrammarMatcher::Limits limits;
  limits.max_states = 200;
  GrammarMatcher matcher(grammar_of("root ::= \"a\"{90000} (\"[\" root \"]\")?"), trie, limits);
  for (int i = 0; i < 50'000; ++i) {
    ASSERT_TRUE(is_allowed(matcher, 'a'));
    ASSERT_FALSE(is_allowed(matcher, '['));
    ASSERT_TRUE(matcher.accept('a'));
  }
  EXPECT_FALSE(matcher.failed());
}

TEST(GrammarMatcherTest, DeepTextsKeepTheirStacks) {
  const auto trie = byte_trie();
  GrammarMatcher::Limits limits;
  limits.max_states = 300;
  limits.max_frames = 100'000;
  GrammarMatcher matcher(grammar_of("root ::= \"(\" root \")\" | \"[\" root \"]\" | \"\""), trie,
                         limits);
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(matcher.accept(i % 3 == 0 ? '(' : '['));
  for (int i = 20'000; i-- > 0;) {
    ASSERT_FALSE(is_allowed(matcher, i % 3 == 0 ? ']' : ')')) << i;
    ASSERT_TRUE(matcher.accept(i % 3 == 0 ? ')' : ']')) << i;
  }
  EXPECT_TRUE(matcher.may_end());
}

TEST(GrammarMatcherTest, ExplodingAmbiguityFailsWithinBounds) {
  // After n times "a" there are 2^n stacks.
  GrammarMatcher matcher(grammar_of("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"d\""),
                         byte_trie());
  int accepted = 0;
  while (accepted < 100 && matcher.accept('a')) ++accepted;
  EXPECT_TRUE(matcher.failed());
  EXPECT_GT(accepted, 10);
  EXPECT_TRUE(matcher.is_dead());
  for (const auto word : matcher.allowed_tokens()) EXPECT_EQ(word, 0u);
}

TEST(GrammarMatcherTest, RandomWalksGiveSentences) {
  std::mt19937 random(1);
  const auto grammar =
      grammar_of("root ::= item (\", \" item)*\nitem ::= [a-zé]{1,3} | \"(\" root \")\"");
  int ended = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string text = random_sentence(*grammar, random, byte_trie(), 200);
    if (text.empty()) continue;
    ++ended;
    EXPECT_TRUE(matches(*grammar, text)) << text;
    EXPECT_TRUE(is_valid_utf8(text));
  }
  EXPECT_GT(ended, 100);
}

}  // namespace
}  // namespace tandem
