// `tandem plan` and `tandem compare` as a user's script sees them, and a plan's memory against what
// the runtime then allocates.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/run_program.h"

namespace tandem {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

std::string temporary(const std::string& name) {
  return (std::filesystem::temp_directory_path() / (std::to_string(getpid()) + "_" + name))
      .string();
}

TEST(PlanCommand, JsonHasTheContractsFields) {
  const auto run = run_tandem("plan --model llama-3-70b --quant q4_k_m --gpu '2x RTX 3090' --json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = Json::parse(run.out);
  for (const char* name : {"model", "machine", "recommended", "plans"}) {
    EXPECT_TRUE(json.contains(name)) << name;
  }
  EXPECT_EQ(json["recommended"], json["plans"][0]["name"]);
  for (const Json& plan : json["plans"]) {
    const Json& scaling = plan["scaling"];
    double sum = scaling["efficiency"];
    for (const auto& [cause, loss] : scaling["losses"].items()) sum += loss.get<double>();
    EXPECT_NEAR(sum, 1, 1e-6) << plan["name"];
    const Json& predicted = plan["predicted"];
    EXPECT_LT(predicted["low"], predicted["decode_tokens_per_s"]);
    EXPECT_GT(predicted["high"], predicted["decode_tokens_per_s"]);
  }
}

TEST(PlanCommand, ExitCodes) {
  const auto code = [](const std::string& arguments) { return run_tandem(arguments).exit_code; };
  EXPECT_EQ(code("plan --model llama-3-70b --gpu 'RTX 3060'"), 4);
  EXPECT_EQ(code("plan --model llama-3-70b --gpu 'RTX 4090' --offload"), 0);
  EXPECT_EQ(code("plan --model nonesuch --gpu 'RTX 3090'"), 2);
  EXPECT_EQ(code("plan --model llama-3-8b --gpu 'RTX 3091'"), 2);
  EXPECT_EQ(code("plan --model llama-3-8b --gpu '0x RTX 3090'"), 2);
  EXPECT_EQ(code("plan --model llama-3-8b --gpu '2x RTX 3090' --link pcie7x99"), 2);
  EXPECT_EQ(code("plan --model llama-3-8b --gpu '2x RTX 3090' --split sideways"), 2);
  EXPECT_EQ(code("plan --model llama-3-8b --gpu '2x RTX 3090' --tp 3"), 2);
  EXPECT_EQ(code("plan --model llama-3-8b --gpu '2x RTX 4090' --link nvlink3"), 2);
  EXPECT_EQ(code("plan --gpu '2x RTX 3090'"), 2);
  EXPECT_EQ(code("plan --model llama-3-8b --gpu 'RTX 3090' -c -5"), 2);
  EXPECT_EQ(code("compare --model llama-3-8b 'RTX 3090' --price 'RTX 3090=-1'"), 2);
  EXPECT_EQ(code("compare --model llama-3-8b 'RTX 3090' --years 0"), 2);
  EXPECT_EQ(code("compare --model llama-3-8b"), 2);
}

TEST(PlanCommand, NamesTheNearest) {
  EXPECT_THAT(run_tandem("plan --model llama-3-7b --gpu 'RTX 3090'").err, HasSubstr("llama-3-8b"));
  EXPECT_THAT(run_tandem("plan --model llama-3-8b --gpu 'RTX 3091'").err, HasSubstr("RTX 3090"));
}

TEST(PlanCommand, MachineFilesThatMakeNoSense) {
  const std::string path = temporary("machine.json");
  for (const char* text :
       {"", "[]", "{\"devices\":[]}",
        R"({"devices":[{"id":"a","kind":"gpu","name":"RTX 3090","memory_bytes":0}]})",
        R"({"devices":[{"id":"a","kind":"gpu","name":"x"},{"id":"a","kind":"gpu","name":"x"}]})",
        R"({"devices":[{"id":"a","kind":"gpu","name":"RTX 3090"}],"links":[{"a":"a","b":"b"}]})",
        R"({"devices":[{"id":"a","kind":"gpu","name":"Nonesuch"}]})"}) {
    std::ofstream(path) << text;
    const auto run = run_tandem("plan --model llama-3-8b --machine " + path);
    EXPECT_EQ(run.exit_code, 2) << text;
    EXPECT_FALSE(run.err.empty()) << text;
  }
  std::filesystem::remove(path);
}

// Within 3 % and 64 MiB of what the run allocates; cache and weights come out equal but for
// padding.
TEST(PlanCommand, RunAllocatesWhatThePlanSays) {
  const std::string path = temporary("plan.json");
  const auto planned = run_tandem(
      "plan -m " + std::string(TANDEM_SOURCE_DIR) +
      "/models/kjv-tiny-q8_0.gguf --devices cpu:0,cpu:1 --split tensor -c 512 -o " + path);
  if (planned.err.find("core") != std::string::npos) GTEST_SKIP() << "fewer than two cores";
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  std::ifstream file(path);
  const Json plan = Json::parse(file);
  const auto run = run_tandem("run --plan " + path + " -p In -n 2 --temp 0 --json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json memory = Json::parse(run.out)["memory"];
  for (const Json& device : plan["stages"][0]["devices"]) {
    const Json& used = memory[device["device"].get<std::string>()];
    const double said = device["total_bytes"];
    const double took = used["weights_bytes"].get<double>() + used["kv_bytes"].get<double>() +
                        used["compute_bytes"].get<double>();
    EXPECT_LE(std::abs(said - took), 0.03 * took + 1024) << device["device"];
  }
  std::filesystem::remove(path);
}

// What `bench --calibrate` predicts of its rows, `plan` predicts from the file that it wrote, and
// says whose figures it uses.
TEST(PlanCommand, ReadsTheCalibrationOfThisComputer) {
  const std::string path = temporary("calibration.json");
  const std::string model =
      " -m " + std::string(TANDEM_SOURCE_DIR) + "/models/kjv-tiny-q8_0.gguf --devices cpu:0 ";
  const auto bench = run_tandem(
      "bench --json --repeat 1 --min-seconds 0.02 --prompt 64 --gen 16 "
      "--ceiling-seconds 0.005 --calibrate-types q8_0 " +
      model + "--calibrate " + path);
  ASSERT_EQ(bench.exit_code, 0) << bench.err;
  setenv("TANDEM_CALIBRATION", path.c_str(), 1);
  const auto planned = run_tandem("plan --json --prompt 64 --gen 16" + model);
  unsetenv("TANDEM_CALIBRATION");
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const Json said = Json::parse(planned.out);
  EXPECT_THAT(said["sources"].dump(), HasSubstr(path));
  const Json row = Json::parse(bench.out)["rows"][0];
  const Json predicted = said["plans"][0]["predicted"];
  for (const std::string phase : {"decode_tokens_per_s", "prefill_tokens_per_s"}) {
    const double there = row["predicted_" + phase];
    EXPECT_NEAR(predicted[phase].get<double>(), there, 1e-6 * there) << phase;
  }
  std::filesystem::remove(path);
}

TEST(CompareCommand, AnswersWhichToBuy) {
  const auto run = run_tandem(
      "compare --model llama-3-70b --quant q4_k_m '1x RTX 4090' '2x RTX 3090' --price 'RTX "
      "3090=750' "
      "--json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = Json::parse(run.out);
  EXPECT_EQ(json["configurations"][0]["fits"], false);
  EXPECT_EQ(json["configurations"][1]["fits"], true);
  EXPECT_EQ(json["configurations"][1]["price"], 1500);
  EXPECT_THAT(json["verdict"].get<std::string>(), HasSubstr("Buy 2x RTX 3090"));
}

}  // namespace
}  // namespace tandem
