#include "text/symbol_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "text/merge_table.h"

namespace tandem {
namespace {

TEST(SymbolTable, GivesEachStringItsFirstNumber) {
  SymbolTable table;
  EXPECT_EQ(table.find("a"), -1);
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(table.intern("s" + std::to_string(i), i), i);
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(table.intern("s" + std::to_string(i), 7), i);
  EXPECT_EQ(table.find("s4999"), 4999);
  EXPECT_EQ(table.find("s5000"), -1);
  EXPECT_EQ(table.find(""), -1);
  EXPECT_EQ(table.intern("", 9), 9);
  EXPECT_EQ(table.find(std::string_view("\0", 1)), -1);
}

TEST(MergeTable, KeepsTheFirstOfAPair) {
  MergeTable table;
  EXPECT_EQ(table.find(1, 2).rank, -1);
  table.reserve(2000);
  for (std::int32_t i = 0; i < 1000; ++i) {
    table.insert(i, i + 1, {i, 10 * i});
    table.insert(i, i + 1, {0, 0});
  }
  for (std::int32_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(table.find(i, i + 1).rank, i);
    EXPECT_EQ(table.find(i, i + 1).symbol, 10 * i);
    EXPECT_EQ(table.find(i + 1, i).rank, -1);
  }
}

}  // namespace
}  // namespace tandem
