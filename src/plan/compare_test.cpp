#include "plan/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/emit.h"
#include "plan/machine_text.h"
#include "plan/planned_models.h"

namespace tandem {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Compare, One4090OrTwo3090ForSeventyBillion) {
  const auto model = plannable_model("llama-3-70b", "q4_k_m");
  CompareRequest request;
  request.configurations = {"1x RTX 4090", "2x RTX 3090"};
  request.prices = {{"RTX 3090", 750}, {"RTX 4090", 1600}};
  const auto result = compare(model->spec, **find_engine("llama.cpp"), request);
  ASSERT_TRUE(result.ok()) << result.error().to_string();
  const auto& one = result->configurations[0];
  const auto& two = result->configurations[1];
  EXPECT_FALSE(one.fits);
  EXPECT_TRUE(one.offload);
  EXPECT_TRUE(two.fits);
  // Measured by others with llama.cpp: about 16 tokens a second.
  EXPECT_NEAR(two.plan->predicted->decode_tokens_per_s, 16, 2);
  EXPECT_LT(one.plan->predicted->decode_tokens_per_s, 5);
  EXPECT_EQ(two.price, 1500);
  EXPECT_EQ(one.cost_difference, 100);
  EXPECT_THAT(result->verdict, StartsWith("Buy 2x RTX 3090"));
  EXPECT_THAT(result->verdict, HasSubstr("1x RTX 4090 cannot hold the model"));
}

TEST(Compare, CostsFollowTheirFormula) {
  const auto model = plannable_model("llama-3-8b", "q4_k_m");
  CompareRequest request;
  request.configurations = {"RTX 3090"};
  request.prices = {{"RTX 3090", 1000}};
  request.electricity_per_kwh = 0.4;
  request.hours_per_day = 10;
  request.years = 2;
  const auto one = compare(model->spec, **find_engine("llama.cpp"), request)->configurations[0];
  const double rate = one.plan->predicted->decode_tokens_per_s;
  const double hourly = 1000 / (2 * 365 * 10.0) + one.wall_power_w / 1000 * 0.4;
  EXPECT_NEAR(*one.cost_per_million_tokens, hourly / (rate * 3600) * 1e6, 1e-9);
  EXPECT_NEAR(one.tokens_per_joule, rate / one.wall_power_w, 1e-12);
}

TEST(Compare, RefusesNonsense) {
  const auto model = plannable_model("llama-3-8b", "q4_k_m");
  const auto refuses = [&](const CompareRequest& request, const char* text) {
    const auto result = compare(model->spec, **find_engine("llama.cpp"), request);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(exit_code_of(result.error().code), 2);
    EXPECT_THAT(result.error().to_string(), HasSubstr(text));
  };
  CompareRequest request;
  refuses(request, "nothing to compare");
  request.configurations = {"RTX 3091"};
  refuses(request, "RTX 3090");
  request.configurations = {"RTX 3090"};
  request.electricity_per_kwh = -1;
  refuses(request, "--electricity");
  request.electricity_per_kwh = 0.3;
  request.hours_per_day = 25;
  refuses(request, "--hours-per-day");
  request.hours_per_day = 4;
  request.years = 0;
  refuses(request, "--years");
}

TEST(Compare, ReadsPrices) {
  std::map<std::string, double> prices;
  EXPECT_TRUE(add_price(prices, "rtx 3090=750.5").ok());
  EXPECT_EQ(prices.at("RTX 3090"), 750.5);
  for (const char* bad : {"RTX 3090", "RTX 3090=", "RTX 3090=-1", "RTX 3090=nan", "RTX 3090=1e999",
                          "RTX 3090=12x", "RTX 9999=5", "=5"}) {
    const auto status = add_price(prices, bad);
    ASSERT_FALSE(status.ok()) << bad;
    EXPECT_EQ(exit_code_of(status.error().code), 2) << bad;
  }
}

TEST(Emit, CommandsForOtherPrograms) {
  const auto model = plannable_model("llama-3-70b", "q4_k_m");
  const auto machine = machine_from_text({{"2x RTX 3090"}, "", true});
  SearchRequest request;
  request.plan.split = SplitMode::kLayer;
  request.plan.max_sequences = 2;
  const auto layer = search_plans(model->spec, *machine, **find_engine("llama.cpp"), request);
  EXPECT_EQ(
      *emit_command(layer->plans.front(), "llama-server", "a model.gguf"),
      "CUDA_VISIBLE_DEVICES=0,1 llama-server -m 'a model.gguf' -ngl 81 -sm layer -ts 40,40 -c "
      "8192 -np 2 -ub 512 -fa on");
  EXPECT_THAT(*emit_command(layer->plans.front(), "vllm", "x"),
              HasSubstr("--tensor-parallel-size 1 --pipeline-parallel-size 2"));
  EXPECT_THAT(*emit_command(layer->plans.front(), "tandem", "x.gguf"),
              HasSubstr("--devices cuda:0,cuda:1 --split layer -ts 40,40"));
  EXPECT_FALSE(emit_command(layer->plans.front(), "emacs", "x").ok());
}

}  // namespace
}  // namespace tandem
