#include "machine/power_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machine/finding.h"
#include "machine/survey_fixture.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two cards of 450 W beside 250 W and 80 W: 1230 W for hours.
PowerBudget two_cards(double supply_w, std::string standard = "ATX 3.1", double circuit_w = 0) {
  PowerBudget budget;
  budget.cards_w = {450, 450};
  budget.cpu_w = 250;
  budget.rest_w = 80;
  budget.supply_w = supply_w;
  budget.standard = std::move(standard);
  budget.circuit_w = circuit_w;
  return budget;
}

std::vector<double> factors(const std::string& standard) {
  std::vector<double> list;
  for (const ExcursionWindow& window : supply_windows(standard)) list.push_back(window.factor);
  return list;
}

TEST(PowerBudget, WindowsOfTheStandards) {
  std::vector<double> seconds;
  for (const ExcursionWindow& window : supply_windows("ATX 3.0")) seconds.push_back(window.seconds);
  EXPECT_THAT(seconds, ElementsAre(100e-6, 1e-3, 10e-3, 100e-3));
  EXPECT_THAT(factors("ATX 3.0"), ElementsAre(2.0, 1.8, 1.6, 1.2));
  EXPECT_EQ(factors("ATX 3.1"), factors("ATX 3.0"));
  EXPECT_THAT(factors("ATX 2.x"), ElementsAre(1.4, 1.3, 1.2, 1.1));
  EXPECT_EQ(factors(""), factors("ATX 2.x"));
}

TEST(PowerBudget, ALimitLeavesTheSupplyItsShare) {
  EXPECT_EQ(suggested_limit_w(two_cards(1600)), 450);  // 1230 W are 77 %
  // 80 % of 1200 W less 330 W for the rest.
  EXPECT_EQ(suggested_limit_w(two_cards(1200)), 310);
  EXPECT_EQ(suggested_limit_w(two_cards(900)), std::nullopt);  // 195 W each: not even half
  EXPECT_EQ(needed_supply_w(two_cards(900)), 1550);
}

TEST(PowerBudget, ALimitCountsPeaksAndTheCircuitToo) {
  // Four cards: 2130 W are 79 % of 2700 W, but at 0.1 ms an old supply bears 3780 W, of which the
  // cards may take half of what the rest leaves.
  PowerBudget four = two_cards(2700, "ATX 2.x");
  four.cards_w = {450, 450, 450, 450};
  EXPECT_EQ(suggested_limit_w(four), 430);
  four.standard = "ATX 3.0";
  EXPECT_EQ(suggested_limit_w(four), 450);
  // 120 V, 10 A: 80 % of 1200 W are 864 W behind a supply of 90 %.
  EXPECT_EQ(suggested_limit_w(two_cards(1600, "ATX 3.1", 1200)), 260);
  EXPECT_EQ(suggested_limit_w(two_cards(0, "", 1200)), 260);
  EXPECT_EQ(suggested_limit_w(two_cards(0, "")), 450);
}

TEST(PowerBudget, SmallCardsKeepTheirLimits) {
  PowerBudget mixed = two_cards(1100);
  mixed.cards_w = {450, 170};
  // 550 W for both: the small one takes 170 W of them.
  EXPECT_EQ(suggested_limit_w(mixed), 380);
  mixed.least_w = 400;
  EXPECT_EQ(suggested_limit_w(mixed), std::nullopt);
}

TEST(PowerBudget, SpeedFollowsTheThirdRootOfPower) {
  EXPECT_EQ(speed_at_limit(450, 450), 1);
  EXPECT_NEAR(speed_at_limit(225, 450), 0.794, 0.001);
}

std::vector<Finding> judged(BuildSpec build) {
  Survey survey = healthy_survey();  // two cards of 300 W beside 225 W and 80 W: 905 W
  survey.build = std::move(build);
  EXPECT_TRUE(assemble_machine(survey).ok());
  return judge(survey);
}

const Finding* find(const std::vector<Finding>& findings, const std::string& id) {
  for (const Finding& finding : findings)
    if (finding.id == id) return &finding;
  return nullptr;
}

TEST(PowerFindings, EveryWindowThatIsExceededIsNamed) {
  BuildSpec build;
  build.psu.watts = 1000;
  const auto old = judged(build);
  const Finding* finding = find(old, "psu-excursion");
  ASSERT_NE(finding, nullptr);
  EXPECT_EQ(finding->severity, Severity::kWarning);
  EXPECT_THAT(finding->evidence, ElementsAre("0.1 ms: up to 1505 W, the supply must bear 1400 W",
                                             HasSubstr("no standard of the supply is named")));
  EXPECT_THAT(finding->advice, HasSubstr("Limit each card to 240 W (nvidia-smi -pl 240): prompts "
                                         "about 7 % slower"));
  build.psu.standard = "ATX 3.1";
  EXPECT_EQ(find(judged(build), "psu-excursion"), nullptr);
  EXPECT_NE(find(judged(build), "psu-sustained"), nullptr);  // 91 %
  build.psu.watts = 1200;
  EXPECT_EQ(find(judged(build), "psu-sustained"), nullptr);
  EXPECT_NE(find(judged(build), "healthy"), nullptr);
}

TEST(PowerFindings, TheWallCircuit) {
  BuildSpec build;
  build.circuit = {230, 16};
  EXPECT_EQ(find(judged(build), "circuit"), nullptr);
  build.circuit = {100, 12};
  const auto weak = judged(build);
  const Finding* finding = find(weak, "circuit");
  ASSERT_NE(finding, nullptr);
  EXPECT_EQ(finding->severity, Severity::kWarning);
  EXPECT_THAT(finding->evidence,
              ElementsAre("905 W behind the supply are 1006 W from the wall; 100 V x 12 A x 80 % = "
                          "960 W"));
  EXPECT_THAT(finding->advice, HasSubstr("Limit each card to 270 W"));
}

}  // namespace
}  // namespace tandem
