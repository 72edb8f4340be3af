// `tandem bench` as a user's script sees it, on the embedded model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "support/run_program.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Two ranks, on one core where there is no second one; short repetitions: what is tested is that
// everything is there and adds up, not how fast it is.
constexpr const char* kShort =
    "bench --json --devices cpu:0#0,cpu:0#1 --prompt 32 --gen 8 --repeat 2 --min-seconds 0.02 "
    "--ceiling-seconds 0.002 ";

std::string temporary(const std::string& name) {
  return (std::filesystem::temp_directory_path() /
          ("tandem_bench_" + std::to_string(getpid()) + "_" + name))
      .string();
}

std::string text_of_file(const std::string& path) {
  std::ifstream stream(path);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

TEST(BenchCommand, MeasuresCeilingsAndSetupsAndAccountsForAll) {
  const std::string page = temporary("page.html");
  const std::string profile = temporary("profile.json");
  const auto run = run_tandem(kShort + std::string("--concurrency 1,3 --report ") + page +
                              " --calibrate " + profile + " --calibrate-types q8_0,f16");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  for (const char* device : {"cpu:0#0", "cpu:0#1"}) {
    EXPECT_GT(json["ceilings"][device]["read_gbps"], 0.1);
    EXPECT_GT(json["ceilings"][device]["int8_gops"], 0.1);
    EXPECT_TRUE(json["ceilings"][device].contains("bf16_gflops"));
  }
  ASSERT_EQ(json["ceilings"]["links"].size(), 1u);
  EXPECT_GT(json["ceilings"]["links"][0]["latency_us"], 0.0);
  ASSERT_EQ(json["rows"].size(), 6u);  // one device, tensor, pipeline; one and three sequences
  for (const auto& row : json["rows"]) {
    EXPECT_GT(row["prefill_tokens_per_s"], 0.0);
    EXPECT_GT(row["decode_tokens_per_s"], 0.0);
    EXPECT_GT(row["predicted_decode_tokens_per_s"], 0.0);
    EXPECT_GT(row["ceiling_fraction"], 0.0);
    for (const char* phase : {"prefill", "decode"}) {
      double sum = row[phase]["efficiency"];
      for (const auto& loss : row[phase]["losses"]) sum += loss.get<double>();
      EXPECT_NEAR(sum, 1.0, 1e-6) << row["plan"];
    }
  }
  EXPECT_EQ(json["rows"][0]["num_devices"], 1);
  EXPECT_DOUBLE_EQ(json["rows"][0]["speedup"], 1.0);
  EXPECT_EQ(json["rows"][1]["num_devices"], 2);
  EXPECT_EQ(json["rows"][3]["concurrency"], 3);

  const std::string html = text_of_file(page);
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(html, Not(HasSubstr("http")));  // self-contained: nothing is fetched
  EXPECT_THAT(html, Not(HasSubstr("nan")));

  const auto measured = nlohmann::json::parse(text_of_file(profile));
  EXPECT_EQ(measured["engines"][0]["name"], "tandem");
  EXPECT_EQ(measured["machine"]["devices"].size(), 2u);
  const auto& kernels = measured["engines"][0]["backends"]["cpu"]["kernels"];
  ASSERT_EQ(kernels.size(), 2u);
  for (const auto& kernel : kernels) {
    EXPECT_GT(kernel["read"], 0.0);
    EXPECT_GT(kernel["shared_read"], 0.0);
    EXPECT_GT(kernel["rows"].back()[1], kernel["rows"][1][1]) << kernel;  // 512 rows take longer
  }
  // The planner reads it back.
  const auto plan =
      run_tandem("plan --json --model llama-3.2-1b --quant q4_k_m --machine " + profile);
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
  std::filesystem::remove(page);
  std::filesystem::remove(profile);
}

// The embedded model's layers take some tens of microseconds: a delay of 2 ms for every message
// exceeds what any other load does to them.
TEST(BenchCommand, NamesASlowLink) {
  const auto run = run_tandem(kShort + std::string("--plans tensor --inject-link-delay-us 2000"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  ASSERT_EQ(json["rows"].size(), 2u);
  EXPECT_EQ(json["rows"][1]["main_cause"], "all_reduce_latency");
  EXPECT_LT(json["rows"][1]["speedup"], 0.5);
}

TEST(BenchCommand, RefusesWhatMeansNothing) {
  const auto plans = run_tandem(kShort + std::string("--plans tensor,sideways"));
  EXPECT_EQ(plans.exit_code, 2);
  EXPECT_THAT(plans.err, HasSubstr("sideways"));
  EXPECT_EQ(run_tandem(kShort + std::string("--plans 9x9")).exit_code, 2);
  EXPECT_EQ(run_tandem(kShort + std::string("--repeat 0")).exit_code, 2);
  EXPECT_EQ(run_tandem(kShort + std::string("-m /nowhere.gguf")).exit_code, 2);
  EXPECT_EQ(run_tandem(kShort + std::string("--gen 100000")).exit_code, 2);
  EXPECT_EQ(run_tandem(kShort + std::string("--calibrate-types q9")).exit_code, 2);
}

}  // namespace
}  // namespace tandem
