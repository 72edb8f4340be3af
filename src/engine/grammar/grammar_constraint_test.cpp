#include "engine/grammar/grammar_constraint.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/grammar/gbnf_parser.h"
#include "text/vocabularies_for_test.h"

namespace tandem {
namespace {

constexpr std::int32_t kEos = 1;        // of small_bpe_fields()
constexpr std::int32_t kTag = 3;        // user-defined: text like any other
constexpr std::int32_t kFirstByte = 5;  // the bytes, in order

class GrammarConstraintTest : public ::testing::Test {
 protected:
  GrammarConstraint made(const char* grammar) {
    return GrammarConstraint(std::make_shared<const Grammar>(*parse_gbnf(grammar)), trie_,
                             tokenizer_);
  }
  // The tokens that mask() leaves.
  std::vector<std::int32_t> left(GrammarConstraint& constraint, std::size_t padding = 0) {
    std::vector<float> logits(static_cast<std::size_t>(tokenizer_->vocabulary().size()) + padding,
                              1.5f);
    constraint.mask(logits);
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (std::isfinite(logits[i])) tokens.push_back(static_cast<std::int32_t>(i));
    }
    return tokens;
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = make_tokenizer(small_bpe_fields());
  std::shared_ptr<const TokenTrie> trie_ =
      std::make_shared<const TokenTrie>(TokenTrie::of(*tokenizer_));
};

TEST_F(GrammarConstraintTest, LeavesWhatFitsAndEndsWhereItMay) {
  auto constraint = made("root ::= \"<tag>\" \"x\"?");
  EXPECT_EQ(left(constraint), (std::vector<std::int32_t>{kTag, kFirstByte + '<'}));
  constraint.accept(kTag);
  EXPECT_TRUE(constraint.may_end());
  const auto end = tokenizer_->vocabulary().end_of_generation();
  auto expected = end;
  expected.push_back(kFirstByte + 'x');
  EXPECT_EQ(left(constraint), expected);
  constraint.accept(kFirstByte + 'x');
  EXPECT_EQ(left(constraint), end);
  constraint.accept(kEos);
  EXPECT_TRUE(constraint.status().ok());
}

TEST_F(GrammarConstraintTest, PaddedLogitsAreForbidden) {
  auto constraint = made("root ::= \"a\"");
  const auto tokens = left(constraint, 100);
  ASSERT_FALSE(tokens.empty());
  EXPECT_LT(tokens.back(), tokenizer_->vocabulary().size());
}

TEST_F(GrammarConstraintTest, SaysSoWhereNoTokenFits) {
  auto constraint = made("root ::= [^\\U00000000-\\U0010FFFF]");
  EXPECT_EQ(left(constraint), tokenizer_->vocabulary().end_of_generation());
  EXPECT_FALSE(constraint.status().ok());
}

TEST_F(GrammarConstraintTest, ATokenAgainstTheGrammarIsAnError) {
  auto constraint = made("root ::= \"a\"");
  constraint.accept(kFirstByte + 'b');
  EXPECT_FALSE(constraint.status().ok());
}

}  // namespace
}  // namespace tandem
