#include "plan/page_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace tandem {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Plan plan_of(std::int64_t weights, std::int64_t capacity) {
  Plan plan;
  RankPlan rank;
  rank.device = "<cuda:0>";
  rank.weights_bytes = weights;
  rank.capacity_bytes = capacity;
  plan.stages.push_back({0, 4, {rank}});
  return plan;
}

TEST(PageParts, EscapesTextFromOutside) {
  const std::string bars = memory_bars(plan_of(50, 100));
  EXPECT_THAT(bars, HasSubstr("&lt;cuda:0&gt;"));
  EXPECT_THAT(bars, Not(HasSubstr("<cuda:0>")));
  EXPECT_THAT(page_head("a <b> & \"c\""), HasSubstr("a &lt;b&gt; &amp; &quot;c&quot;"));
}

TEST(PageParts, MarksWhatDoesNotFit) {
  EXPECT_THAT(memory_bars(plan_of(150, 100)), HasSubstr("+50 %"));
  EXPECT_THAT(memory_bars(plan_of(100, 100)), Not(HasSubstr("+")));
}

TEST(PageParts, HasColoursForDarkScreensAndPaper) {
  const std::string head = page_head("x");
  EXPECT_THAT(head, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(head, HasSubstr("@media print"));
}

TEST(PageParts, ScatterKeepsPointsWithinItsAxes) {
  const std::string plot =
      scatter({{1500, 16, 13, 20, "2x", true}, {0, 2, 1, 3, "1x", false}}, "dollars", "tokens/s");
  EXPECT_THAT(plot, HasSubstr(">2x</text>"));
  EXPECT_THAT(plot, Not(HasSubstr("nan")));
  EXPECT_THAT(scatter({}, "x", "y"), Not(HasSubstr("nan")));
}

// The y of every text that is a label, in the order of the points.
std::vector<double> label_heights(const std::string& plot, const std::vector<std::string>& labels) {
  std::vector<double> heights;
  for (const std::string& label : labels) {
    const std::size_t end = plot.find("\">" + label + "</text>");
    const std::size_t start = plot.rfind("y=\"", end);
    heights.push_back(std::stod(plot.substr(start + 3, end - start - 3)));
  }
  return heights;
}

TEST(PageParts, ScatterLaysNoLabelOnAnother) {
  const std::vector<std::string> labels = {"a long name", "another long name", "the third of them"};
  const std::string plot = scatter({{10, 20.0, 0, 0, labels[0], true},
                                    {10.1, 20.1, 0, 0, labels[1], true},
                                    {9.9, 19.5, 0, 0, labels[2], true}},
                                   "x", "y");
  std::vector<double> heights = label_heights(plot, labels);
  std::sort(heights.begin(), heights.end());
  EXPECT_GE(heights[1] - heights[0], 14);
  EXPECT_GE(heights[2] - heights[1], 14);
}

TEST(PageParts, MemoryBarsNameTheDevices) {
  EXPECT_THAT(memory_bars(plan_of(50, 100), {{"<cuda:0>", "RTX <3090>"}}),
              HasSubstr("RTX &lt;3090&gt;"));
}

}  // namespace
}  // namespace tandem
