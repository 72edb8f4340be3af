#include "text/utf8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tandem {
namespace {

TEST(Utf8, EveryScalarValueSurvivesTheRoundTrip) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Char read = read_utf8(text, 0);
    ASSERT_EQ(read.state, Utf8Char::State::kValid) << std::uint32_t{c};
    ASSERT_EQ(read.code_point, c);
    ASSERT_EQ(read.num_bytes, text.size());
  }
}

TEST(Utf8, RefusesWhatIsNoCharacter) {
  // Overlong NUL, overlong 3-byte form, surrogate, beyond U+10FFFF, stray continuation, 0xFF.
  for (const char* text :
       {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xFF"}) {
    EXPECT_FALSE(is_valid_utf8(text));
    EXPECT_EQ(read_utf8(text, 0).state, Utf8Char::State::kInvalid);
  }
}

TEST(Utf8, SurrogatesAreWrittenAsReplacement) {
  std::string text;
  append_utf8(text, 0xD800);
  append_utf8(text, 0x110000);
  EXPECT_EQ(text, "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Utf8, EveryProperPrefixIsIncomplete) {
  const std::string_view llama = "\xF0\x9F\xA6\x99";
  for (std::size_t length = 1; length < llama.size(); ++length) {
    const Utf8Char read = read_utf8(llama.substr(0, length), 0);
    EXPECT_EQ(read.state, Utf8Char::State::kIncomplete);
    EXPECT_EQ(read.num_bytes, length);
  }
}

TEST(Utf8, ReplacesEachMaximalSubpartOnce) {
  // The example of the Unicode standard, table 3-11.
  EXPECT_EQ(to_valid_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
            "b\xEF\xBF\xBD"
            "c\xEF\xBF\xBD\xEF\xBF\xBD"
            "d");
}

}  // namespace
}  // namespace tandem
