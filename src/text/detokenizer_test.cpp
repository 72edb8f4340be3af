#include "text/detokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "text/utf8.h"
#include "text/vocabularies_for_test.h"

namespace tandem {
namespace {

constexpr EncodeOptions kPlain{.add_special = false};
constexpr std::int32_t kFirstByte = 5;  // of small_bpe_fields()

TEST(Detokenizer, HoldsBackAnIncompleteCharacter) {
  const auto tokenizer = make_tokenizer(small_bpe_fields());
  Detokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.push(kFirstByte + 0xE2), "");
  EXPECT_EQ(detokenizer.push(kFirstByte + 0x82), "");
  EXPECT_EQ(detokenizer.num_pending_bytes(), 2u);
  EXPECT_EQ(detokenizer.push(kFirstByte + 0xAC), "€");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(Detokenizer, ReplacesWhatCanBecomeNoCharacter) {
  const auto tokenizer = make_tokenizer(small_bpe_fields());
  Detokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.push(kFirstByte + 0xFF), "\uFFFD");
  EXPECT_EQ(detokenizer.push(kFirstByte + 0xE2), "");
  EXPECT_EQ(detokenizer.push(kFirstByte + 'a'), "\uFFFDa");
  EXPECT_EQ(detokenizer.push(kFirstByte + 0xF0), "");
  EXPECT_EQ(detokenizer.flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(Detokenizer, LeavesControlTokensOutUnlessAsked) {
  const auto tokenizer = make_tokenizer(small_bpe_fields());
  EXPECT_EQ(Detokenizer(*tokenizer).push(2), "");
  EXPECT_EQ(Detokenizer(*tokenizer, {.render_special = true}).push(2), "<|im_end|>");
  EXPECT_EQ(Detokenizer(*tokenizer).push(-7), "");
}

TEST(Detokenizer, KeepsTheFirstSpaceUnlessAsked) {
  const auto tokenizer = make_tokenizer(small_spm_fields());
  const auto tokens = tokenizer->encode("hello");
  Detokenizer answer(*tokenizer);
  Detokenizer text(*tokenizer, {.strip_space_prefix = true});
  std::string as_answer;
  std::string as_text;
  for (const auto token : tokens) {
    as_answer += answer.push(token);
    as_text += text.push(token);
  }
  EXPECT_EQ(as_answer, " hello");
  EXPECT_EQ(as_text, "hello");
}

TEST(Detokenizer, AnyTokensGiveValidTextAndValidTextComesBack) {
  const auto tokenizer = make_tokenizer(small_bpe_fields());
  std::mt19937 random(5);
  for (int round = 0; round < 500; ++round) {
    Detokenizer detokenizer(*tokenizer);
    std::vector<std::int32_t> tokens;
    if (round % 2 == 0) {
      for (int i = 0; i < 30; ++i) {
        tokens.push_back(static_cast<std::int32_t>(random() % 280));
      }
    } else {
      std::string text;
      for (int i = 0; i < 20; ++i) append_utf8(text, random() % 0x20000);
      tokens = tokenizer->encode(text, kPlain);
    }
    std::string out;
    for (const auto token : tokens) {
      const std::string part = detokenizer.push(token);
      ASSERT_TRUE(is_valid_utf8(part));
      ASSERT_LE(detokenizer.num_pending_bytes(), 3u);
      out += part;
    }
    out += detokenizer.flush();
    ASSERT_EQ(out, to_valid_utf8(tokenizer->decode(tokens)));
  }
}

}  // namespace
}  // namespace tandem
