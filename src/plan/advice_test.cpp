#include "plan/advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/machine_text.h"
#include "plan/plan_report.h"
#include "plan/planned_models.h"

namespace tandem {
namespace {

using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

struct Advised {
  Plan plan;
  std::vector<Advice> help;
};

Advised advise(const char* name, const char* gpus, const SearchRequest& request,
               const char* link = "") {
  const auto model = plannable_model(name, "q4_k_m");
  const auto machine = machine_from_text({{gpus}, link, true});
  const auto& engine = **find_engine("llama.cpp");
  const auto found = search_plans(model->spec, *machine, engine, request);
  EXPECT_TRUE(found.ok());
  return {found->plans.front(),
          what_would_help(model->spec, *machine, engine, request, found->plans.front(), {})};
}

TEST(Advice, NvlinkHelpsTwoCardsWithoutIt) {
  const auto advised = advise("llama-3-70b", "2x RTX 3090", {});
  EXPECT_THAT(advised.help, Contains(Field(&Advice::what, HasSubstr("NVLink"))));
  for (std::size_t i = 1; i < advised.help.size(); ++i) {
    EXPECT_GE(advised.help[i - 1].gain, advised.help[i].gain);
  }
  const auto bridged = advise("llama-3-70b", "2x RTX 3090", {}, "nvlink3");
  EXPECT_THAT(bridged.help, Not(Contains(Field(&Advice::what, HasSubstr("NVLink")))));
}

TEST(Advice, NoBridgeIsAdvisedWhereCardsTakeNone) {
  const auto advised = advise("llama-3-70b", "2x RTX 4090", {});
  EXPECT_THAT(advised.help, Not(Contains(Field(&Advice::what, HasSubstr("NVLink")))));
}

TEST(Advice, WiderSlotsHelpNarrowOnes) {
  const auto advised = advise("llama-3-70b", "2x RTX 4090", {}, "pcie3x4");
  EXPECT_THAT(advised.help, Contains(Field(&Advice::what, HasSubstr("x16"))));
}

TEST(Advice, ReplicasForManySequences) {
  SearchRequest request;
  request.workload.concurrency = 16;
  request.plan.max_sequences = 16;
  request.plan.context_tokens = 1024;
  const auto advised = advise("llama-3-8b", "4x RTX 4090", request, "pcie3x4");
  EXPECT_THAT(advised.help, Contains(Field(&Advice::what, HasSubstr("side by side"))));
}

TEST(Advice, WhatWouldFit) {
  const auto model = plannable_model("llama-3-70b", "q4_k_m");
  const auto smaller = plannable_model("llama-3-70b", "q2_k");
  const auto machine = machine_from_text({{"2x RTX 4080"}, "", true});
  const auto ways = what_would_fit(model->spec, *machine, **find_engine("llama.cpp"), {},
                                   {{"Q2_K", smaller->spec}});
  EXPECT_THAT(ways, Contains(HasSubstr("Q2_K")));
  EXPECT_THAT(ways, Contains(HasSubstr("--offload")));
  EXPECT_THAT(ways, Contains("1 more RTX 4080"));
}

TEST(Report, SaysWhatTheContractAsks) {
  const auto advised = advise("llama-3-70b", "2x RTX 3090", {});
  PlanReport report;
  report.model = "<Llama>";
  report.machine = "2x RTX 3090";
  report.engine = "llama.cpp";
  report.plans = {advised.plan};
  report.help = advised.help;
  const std::string text = plan_report_text(report);
  EXPECT_THAT(text, HasSubstr("recommended for latency: 2-way tensor"));
  EXPECT_THAT(text, HasSubstr("where the ideal goes"));
  const std::string page = plan_report_html(report);
  EXPECT_THAT(page, HasSubstr("&lt;Llama&gt;"));
  EXPECT_THAT(page, HasSubstr("<svg"));
}

}  // namespace
}  // namespace tandem
