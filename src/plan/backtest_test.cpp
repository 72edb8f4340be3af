#include "plan/backtest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <iterator>

namespace tandem {
namespace {

TEST(Backtest, PublishedMeasurementsWithinTargets) {
  std::ifstream file(std::string(TANDEM_SHARED_DIR) + "/research/measurements.csv");
  if (!file) GTEST_SKIP() << "no table of measurements beside the repository";
  const std::string csv{std::istreambuf_iterator<char>(file), {}};
  const auto backtest = run_backtest(csv);
  ASSERT_TRUE(backtest.ok()) << backtest.error().to_string();
  if (std::getenv("TANDEM_PRINT_BACKTEST") != nullptr) std::cout << backtest_text(*backtest);
  const ErrorSummary& all = backtest->single_stream;
  EXPECT_GT(all.decode_rows, 300);
  EXPECT_LE(all.decode_median, 0.10);
  EXPECT_LE(all.decode_p90, 0.25);
  EXPECT_LE(all.prefill_median, 0.20);
  EXPECT_LE(all.prefill_p90, 0.45);
  EXPECT_LE(backtest->speedup.median, 0.08);
  // Of sources that no constant was fitted to.
  const ErrorSummary& held_out = backtest->held_out;
  EXPECT_GT(held_out.decode_rows, 50);
  EXPECT_LE(held_out.decode_median, 0.10);
  EXPECT_LE(held_out.decode_p90, 0.25);
  EXPECT_LE(held_out.prefill_median, 0.20);
  EXPECT_LE(held_out.prefill_p90, 0.45);
  EXPECT_GE(held_out.within_range, 0.80);
  EXPECT_GE(all.within_range, 0.80);
}

TEST(Backtest, BadTablesAreErrors) {
  EXPECT_FALSE(run_backtest("").ok());
  EXPECT_FALSE(run_backtest("a,b\n1\n").ok());
  EXPECT_FALSE(run_backtest("a,b\n1,2\n").ok());
}

}  // namespace
}  // namespace tandem
