#include "text/stop_strings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace tandem {
namespace {

StopStrings make(std::vector<std::string> strings) {
  return StopStrings::create(std::move(strings)).value();
}

TEST(StopStrings, PassesTextThroughWithoutStrings) {
  StopStrings stop = make({});
  EXPECT_EQ(stop.push("anything"), "anything");
  EXPECT_FALSE(stop.stopped());
}

TEST(StopStrings, CutsAtTheMatch) {
  StopStrings stop = make({"END"});
  EXPECT_EQ(stop.push("one END two"), "one ");
  ASSERT_TRUE(stop.stopped());
  EXPECT_EQ(*stop.matched(), "END");
  EXPECT_EQ(stop.push("more"), "");
  EXPECT_EQ(stop.flush(), "");
}

TEST(StopStrings, HoldsBackWhatMayBecomeAMatch) {
  StopStrings stop = make({"</s>"});
  EXPECT_EQ(stop.push("a <"), "a ");
  EXPECT_EQ(stop.num_held_bytes(), 1u);
  EXPECT_EQ(stop.push("/"), "");
  EXPECT_EQ(stop.push("b"), "</b");
  EXPECT_EQ(stop.push("</"), "");
  EXPECT_EQ(stop.push("s>"), "");
  EXPECT_TRUE(stop.stopped());
}

TEST(StopStrings, GivesBackWhatWasHeldAtTheEnd) {
  StopStrings stop = make({"stop"});
  EXPECT_EQ(stop.push("sto"), "");
  EXPECT_EQ(stop.flush(), "sto");
  EXPECT_FALSE(stop.stopped());
}

TEST(StopStrings, FindsAMatchThatBeginsInsideAFailedOne) {
  StopStrings stop = make({"aab"});
  EXPECT_EQ(stop.push("aa"), "");
  EXPECT_EQ(stop.push("a"), "a");
  EXPECT_EQ(stop.push("b"), "");
  EXPECT_TRUE(stop.stopped());
}

TEST(StopStrings, TheEarliestMatchWinsThenTheShortest) {
  StopStrings stop = make({"bcd", "abc", "ab"});
  EXPECT_EQ(stop.push("xabcd"), "x");
  EXPECT_EQ(*stop.matched(), "ab");
}

TEST(StopStrings, WaitsForAnEarlierMatchRatherThanTakeALaterOne) {
  StopStrings stop = make({"abcX", "bc"});
  EXPECT_EQ(stop.push("abc"), "");  // "abcX" may still come
  EXPECT_FALSE(stop.stopped());
  EXPECT_EQ(stop.push("Y"), "a");
  EXPECT_EQ(*stop.matched(), "bc");
}

TEST(StopStrings, RefusesWhatIsTooMuch) {
  EXPECT_FALSE(StopStrings::create(std::vector<std::string>(257, "x")).ok());
  EXPECT_FALSE(StopStrings::create({std::string(4097, 'x')}).ok());
  EXPECT_TRUE(StopStrings::create(std::vector<std::string>(1000, "")).ok());
}

// Where a search through the whole text stops. However the text is cut, push() must give the same.
std::string expected_output(const std::string& text, const std::vector<std::string>& strings) {
  std::size_t first = std::string::npos;
  for (const std::string& s : strings) first = std::min(first, text.find(s));
  return text.substr(0, first);
}

TEST(StopStrings, CutsDoNotMatter) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    const auto letters = [&](std::size_t length) {
      std::string s;
      while (s.size() < length) s += static_cast<char>('a' + random() % 2);
      return s;
    };
    std::vector<std::string> strings;
    for (int i = 0; i < 3; ++i) strings.push_back(letters(2 + random() % 5));
    const std::string text = letters(30);
    StopStrings stop = make(strings);
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t length = 1 + random() % 4;
      out += stop.push(std::string_view(text).substr(i, length));
      i += length;
    }
    out += stop.flush();
    ASSERT_EQ(out, expected_output(text, strings)) << text;
  }
}

}  // namespace
}  // namespace tandem
