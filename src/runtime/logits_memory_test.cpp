#include "runtime/logits_memory.h"

#include <gtest/gtest.h>

#include <memory>

#include "runtime/runtime.h"

namespace tandem {
namespace {

TEST(LogitsMemory, AResultGivesItsMemoryBack) {
  const auto memory = std::make_shared<LogitsMemory>();
  const float* first = nullptr;
  {
    StepResult result;
    result.logits = memory->take(1000);
    result.home = memory;
    first = result.logits.data();
    const StepResult moved = std::move(result);
    EXPECT_EQ(moved.logits.data(), first);
  }
  const std::vector<float> again = memory->take(500);
  EXPECT_EQ(again.data(), first);
  EXPECT_EQ(again.size(), 500u);
  EXPECT_NE(memory->take(500).data(), first);
}

TEST(LogitsMemory, DoesNotKeepWhatIsVeryLarge) {
  LogitsMemory memory;
  memory.give_back(std::vector<float>(std::size_t{8} << 20));
  EXPECT_LT(memory.take(1).capacity(), std::size_t{8} << 20);
}

}  // namespace
}  // namespace tandem
