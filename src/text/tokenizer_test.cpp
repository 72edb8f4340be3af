#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "text/pre_tokenizer_catalogue.h"
#include "text/utf8.h"
#include "text/vocabularies_for_test.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};
constexpr EncodeOptions kParse{.add_special = false, .parse_special = true};

std::vector<std::string> pieces_of(const Tokenizer& tokenizer, std::string_view text,
                                   const EncodeOptions& options = kPlain) {
  std::vector<std::string> pieces;
  for (const auto token : tokenizer.encode(text, options)) {
    pieces.push_back(tokenizer.piece(token, true));
  }
  return pieces;
}

TEST(BpeTokenizer, JoinsByRankWithinWords) {
  const auto tokenizer = make_tokenizer(small_bpe_fields());
  EXPECT_THAT(pieces_of(*tokenizer, "hello world"), ElementsAre("hello", " world"));
  EXPECT_THAT(pieces_of(*tokenizer, "hell"), ElementsAre("hell"));
  // "l l" ranks before "he ll", and the leftmost of equals goes first.
  EXPECT_THAT(pieces_of(*tokenizer, "lllll"), ElementsAre("ll", "ll", "l"));
  EXPECT_THAT(pieces_of(*tokenizer, "aaaaaaa"), ElementsAre("aaaa", "aa", "a"));
}

TEST(BpeTokenizer, MergesDoNotCrossWords) {
  const auto tokenizer = make_tokenizer(small_bpe_fields("qwen2"));
  EXPECT_THAT(pieces_of(*tokenizer, "12"), ElementsAre("1", "2"));  // digits are words there
  EXPECT_THAT(pieces_of(*make_tokenizer(small_bpe_fields()), "12"), ElementsAre("12"));
}

TEST(BpeTokenizer, AMergeThatIsNoTokenGivesItsBytes) {
  VocabularyFields fields = small_bpe_fields();
  fields.merges->push_back("x y");
  const auto tokenizer = make_tokenizer(fields);
  EXPECT_THAT(pieces_of(*tokenizer, "xy"), ElementsAre("x", "y"));
}

TEST(BpeTokenizer, AWordThatIsATokenWinsWhereMergesAreIgnored) {
  VocabularyFields fields = small_bpe_fields("llama-bpe");
  add_token(fields, "xyz", TokenType::kNormal);
  fields.add_bos = false;
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "xyz"), ElementsAre("xyz"));
  fields.pre = "smaug-bpe";
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "xyz"), ElementsAre("x", "y", "z"));
}

TEST(BpeTokenizer, TextCannotSpellAControlToken) {
  // Without the pre-tokenizer's help: the merges themselves lead to "<|".
  VocabularyFields fields = small_bpe_fields();
  add_token(fields, "<|", TokenType::kControl);
  fields.merges->push_back("< |");
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "<|"), ElementsAre("<", "|"));
}

TEST(SpmTokenizer, JoinsByScore) {
  const auto tokenizer = make_tokenizer(small_spm_fields());
  EXPECT_THAT(pieces_of(*tokenizer, "hello world"), ElementsAre(" hello", " world"));
  EXPECT_THAT(pieces_of(*tokenizer, "hel"), ElementsAre(" hel"));
}

TEST(SpmTokenizer, FallsBackToBytes) {
  const auto tokenizer = make_tokenizer(small_spm_fields());
  EXPECT_THAT(tokenizer->encode("é€", kPlain),
              ElementsAre(*tokenizer->vocabulary().find("▁"), *tokenizer->vocabulary().find("é"),
                          4 + 0xE2, 4 + 0x82, 4 + 0xAC));
}

TEST(SpmTokenizer, WithoutBytesACharacterIsUnknownOnce) {
  VocabularyFields fields = small_spm_fields();
  for (std::size_t i = 4; i < 260; ++i) fields.tokens[i] += "!";
  const auto tokenizer = make_tokenizer(fields);
  EXPECT_THAT(tokenizer->encode("€", kPlain), ElementsAre(*tokenizer->vocabulary().find("▁"), 0));
}

TEST(SpmTokenizer, PutsASpaceBeforeTextAndBehindSpecialTokens) {
  const auto tokenizer = make_tokenizer(small_spm_fields());
  EXPECT_THAT(pieces_of(*tokenizer, "hello<tag>hello"), ElementsAre(" hello", "<tag>", " hello"));
  VocabularyFields fields = small_spm_fields();
  fields.add_space_prefix = false;
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "hello"), ElementsAre("h", "el", "lo"));
}

TEST(SpmTokenizer, TextCannotSpellAControlToken) {
  const auto tokenizer = make_tokenizer(small_spm_fields());
  EXPECT_THAT(pieces_of(*tokenizer, "<s>"), ElementsAre(" ", "<s", ">"));
  EXPECT_THAT(tokenizer->encode("<0x41>", kPlain).size(), 7u);
}

TEST(SpmTokenizer, WordsThatShareATokenAreMergedTogether) {
  VocabularyFields fields = small_spm_fields();
  add_token(fields, "lo▁w", TokenType::kNormal, 1000.0f);
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "lo w"), ElementsAre(" ", "lo w"));
}

TEST(Tokenizer, AddsBosAndEosOnlyWhenAsked) {
  VocabularyFields fields = small_bpe_fields();
  fields.add_bos = fields.add_eos = true;
  const auto tokenizer = make_tokenizer(fields);
  EXPECT_THAT(tokenizer->encode("h"), ElementsAre(0, 5 + 'h', 1));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre(0, 1));
  EXPECT_THAT(tokenizer->encode("", kPlain), ElementsAre());
}

TEST(Tokenizer, ParsesSpecialTokensOnlyWhenAsked) {
  for (const auto& fields : {small_bpe_fields(), small_spm_fields()}) {
    const auto tokenizer = make_tokenizer(fields);
    const bool is_bpe = tokenizer->vocabulary().model() == TokenizerModel::kByteLevelBpe;
    const std::string mark = is_bpe ? "<|im_end|>" : "</s>";
    const auto id = *tokenizer->vocabulary().find(mark);
    EXPECT_THAT(tokenizer->encode(mark, kParse), ElementsAre(id));
    EXPECT_THAT(tokenizer->encode(mark + mark, kParse), ElementsAre(id, id));
    for (const auto token : tokenizer->encode("a" + mark, kPlain)) EXPECT_NE(token, id);
  }
}

TEST(Tokenizer, UserDefinedTokensAreAlwaysFoundTheLongestFirst) {
  const auto tokenizer = make_tokenizer(small_bpe_fields());
  EXPECT_THAT(pieces_of(*tokenizer, "h<tag>+<tag>h"), ElementsAre("h", "<tag>+", "<tag>", "h"));
}

TEST(Tokenizer, ALongerSpecialTokenWinsOverAnEarlierOne) {
  VocabularyFields fields = small_bpe_fields();
  add_token(fields, "<abc", TokenType::kUserDefined);
  add_token(fields, "bcdef", TokenType::kUserDefined);
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "<abcdef"), ElementsAre("<", "a", "bcdef"));
}

TEST(Tokenizer, Phi3SwallowsSpaceBehindSpecialTokens) {
  VocabularyFields fields = small_spm_fields();
  add_token(fields, "<|user|>", TokenType::kControl);
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "<|user|>\n hello", kParse),
              ElementsAre("<|user|>", " ", "\n", " hello"));
  fields.model_name = "Phi-3-mini";
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "<|user|>\n hello", kParse),
              ElementsAre("<|user|>", " hello"));
  EXPECT_THAT(pieces_of(*make_tokenizer(fields), "<s> hello", kParse),
              ElementsAre("<s>", " ", " hello"));
}

TEST(Tokenizer, PiecesOfTokensWithoutTextAreEmpty) {
  VocabularyFields fields = small_bpe_fields();
  const auto unused = add_token(fields, "[PAD1]", TokenType::kUnused);
  const auto tokenizer = make_tokenizer(fields);
  EXPECT_EQ(tokenizer->piece(unused), "");
  EXPECT_EQ(tokenizer->piece(0), "");
  EXPECT_EQ(tokenizer->piece(0, true), "<|bos|>");
  EXPECT_EQ(tokenizer->piece(-1), "");
  EXPECT_EQ(tokenizer->piece(1 << 30), "");
}

TEST(Tokenizer, DecodeTakesTheSpacePrefixBack) {
  const auto tokenizer = make_tokenizer(small_spm_fields());
  const auto tokens = tokenizer->encode("hello world");
  EXPECT_EQ(tokens.front(), 1);
  EXPECT_EQ(tokenizer->decode(tokens), "hello world");
  EXPECT_EQ(tokenizer->decode(tokens, {.strip_space_prefix = false}), " hello world");
  EXPECT_EQ(tokenizer->decode(tokens, {.render_special = true}), "<s>hello world");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("  hello")), "  hello");
}

// Any text, valid or not, comes back from its tokens, except for "▁" itself in SentencePiece, which
// is how that spells a space.
TEST(Tokenizer, RandomTextSurvivesTheRoundTrip) {
  std::vector<std::unique_ptr<const Tokenizer>> tokenizers;
  for (const auto& spec : all_pre_tokenizers()) {
    tokenizers.push_back(make_tokenizer(small_bpe_fields(std::string(spec.names.front()))));
  }
  tokenizers.push_back(make_tokenizer(small_spm_fields()));
  std::mt19937 random(11);
  constexpr std::string_view kParts[] = {
      "hello", " ",  "world", "  ",       "\n", "\r\n", "12",  "'s", "<tag>", "é",       "漢字",
      "🦙",  "\t", "\xFF",  "\xE2\x82", "İ",  "!",    "<s>", "_",  "٣",     "e\u0301", "\u3000"};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) {
      if (random() % 4 == 0) {
        append_utf8(text, random() % 0x30000);
      } else {
        text += kParts[random() % std::size(kParts)];
      }
    }
    if (text.find("▁") != std::string::npos) continue;
    for (const auto& tokenizer : tokenizers) {
      const bool is_bpe = tokenizer->vocabulary().model() == TokenizerModel::kByteLevelBpe;
      if (!is_bpe && text.find("<tag>") != std::string::npos) continue;  // a space is put behind it
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text, kPlain)), text)
          << tokenizer->vocabulary().pre_tokenizer();
    }
  }
}

// Texts on which a quadratic step anywhere would take minutes.
TEST(Tokenizer, LongTextsOfOneKindTakeLinearTime) {
  constexpr std::size_t kBytes = 100'000;
  std::vector<std::string> texts;
  for (const std::string_view part : {"a", " ", "\n", "!", "1", "<", "漢", " 漢", "\xFF", "A",
                                      "\t\n", "'", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \n"}) {
    std::string text;
    while (text.size() < kBytes) text += part;
    texts.push_back(text + "x");
  }
  std::string spaces_then_letter(kBytes, ' ');
  texts.push_back(spaces_then_letter + "漢");
  const std::clock_t begin = std::clock();  // of this process: other programs do not matter
  for (const auto& spec : all_pre_tokenizers()) {
    const auto tokenizer = make_tokenizer(small_bpe_fields(std::string(spec.names.front())));
    for (const std::string& text : texts) {
      ASSERT_FALSE(tokenizer->encode(text, kPlain).empty());
    }
  }
  const auto spm = make_tokenizer(small_spm_fields());
  for (const std::string& text : texts) ASSERT_FALSE(spm->encode(text, kPlain).empty());
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  EXPECT_LT(seconds, 60.0);  // some 250 texts of 100 KB; a sanitizer build takes its time
}

}  // namespace
}  // namespace tandem
