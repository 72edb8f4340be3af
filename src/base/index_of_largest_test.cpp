#include "base/index_of_largest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace tandem {
namespace {

TEST(IndexOfLargest, AgreesWithMaxElementForEverySize) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> number(-50, 50);  // few values: ties are common
  for (std::size_t size : {1, 2, 31, 32, 33, 1023, 1024, 1025, 2080, 5000}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<float> values(size);
      for (float& value : values) value = static_cast<float>(number(random));
      const auto expected = std::max_element(values.begin(), values.end()) - values.begin();
      EXPECT_EQ(index_of_largest(values), static_cast<std::size_t>(expected)) << size;
    }
  }
}

TEST(IndexOfLargest, SkipsWhatIsNoNumberAndWhatIsForbidden) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> values(3000, -infinity);
  EXPECT_EQ(index_of_largest(values), 0u);
  values[10] = std::nanf("");
  values[2500] = -3.0f;
  EXPECT_EQ(index_of_largest(values), 2500u);
  values[40] = infinity;
  EXPECT_EQ(index_of_largest(values), 40u);
  EXPECT_EQ(index_of_largest({}), 0u);
}

}  // namespace
}  // namespace tandem
