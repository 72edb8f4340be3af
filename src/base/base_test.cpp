#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <memory>

#include "base/checked.h"
#include "base/result.h"
#include "base/units.h"

namespace tandem {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return invalid_argument("odd", "an even number", std::to_string(value));
  return value / 2;
}

Result<int> quarter(int value) {
  TANDEM_TRY(const int once, half(value));
  TANDEM_TRY(const int twice, half(once));
  return twice;
}

TEST(Result, TryPassesValuesAndErrors) {
  EXPECT_EQ(quarter(8).value(), 2);
  const auto failed = quarter(6);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().to_string(), "odd (expected an even number, got 3)");
}

TEST(Result, HoldsMoveOnlyValues) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  EXPECT_EQ(*std::move(result).value(), 7);
}

TEST(ResultDeathTest, ReadingTheWrongSideStops) {
  EXPECT_DEATH((void)half(3).value(), "odd");
}

TEST(Error, SaysWhere) {
  const Error error = malformed("byte 12", "length past the end", "<= 4", "9").at("model.gguf");
  EXPECT_EQ(error.to_string(), "model.gguf: byte 12: length past the end (expected <= 4, got 9)");
}

TEST(Error, ExitCodesFollowTheContract) {
  EXPECT_EQ(exit_code_of(ErrorCode::kMalformed), 2);
  EXPECT_EQ(exit_code_of(ErrorCode::kDoesNotFit), 4);
  EXPECT_EQ(exit_code_of(ErrorCode::kPeerLost), 1);
  EXPECT_EQ(exit_code_of(ErrorCode::kOutOfMemory), 1);
  EXPECT_EQ(exit_code_of(ErrorCode::kDeviceFailed), 5);
}

TEST(Checked, SaysWhenItWraps) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(checked_add<std::uint64_t>(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_mul<std::uint64_t>(kMax / 2, 3), std::nullopt);
  EXPECT_EQ(checked_align_up<std::uint64_t>(kMax - 3, 32), std::nullopt);
  EXPECT_EQ(checked_align_up<std::uint64_t>(33, 32), 64u);
}

TEST(Units, AreForPeople) {
  EXPECT_EQ(format_bytes(17), "17 B");
  EXPECT_EQ(format_bytes(640 * kMiB), "640.0 MiB");
  EXPECT_EQ(format_seconds(0.0131), "13.1 ms");
}

}  // namespace
}  // namespace tandem
