// The whole program on two emulated GPUs, as its users' scripts see it: libraries in the place of
// NVIDIA's driver (tests/standin) show it two cards, and its kernels run in tests/simt.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/run_program.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

class EmulatedProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("LD_LIBRARY_PATH", TANDEM_STANDIN_FOLDER, 1);
    setenv("TANDEM_SIMT_RACES", "0", 1);  // twice as slow, and kernels have tests of their own
  }
  void TearDown() override {
    unsetenv("LD_LIBRARY_PATH");
    unsetenv("TANDEM_SIMT_RACES");
  }
  static ProgramRun run(const std::string& arguments) {
    ProgramTerms terms;
    terms.program = TANDEM_EMULATED_PROGRAM;
    return run_tandem(arguments, terms);
  }
};

// What the processor answers, on every way to use GPUs.
class EmulatedRun : public EmulatedProgram, public ::testing::WithParamInterface<const char*> {};

TEST_P(EmulatedRun, AnswersAsTheProcessorDoes) {
  const std::string request = "run -p 'In the beginning' -n 3 --temp 0 -c 128 ";
  const auto expected = run_tandem(request + "--devices cpu");
  ASSERT_EQ(expected.exit_code, 0) << expected.err;
  const auto got = run(request + GetParam());
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(got.out, expected.out);
}

INSTANTIATE_TEST_SUITE_P(EveryWay, EmulatedRun,
                         ::testing::Values("--devices cuda:0",
                                           "--devices cuda:0,cuda:1 --split tensor",
                                           "--devices cuda:0#0,cuda:0#1 --split layer",
                                           "--devices cuda:0,cpu:0 --split layer"));

TEST_F(EmulatedProgram, SaysWhichGpusThereAre) {
  const auto got = run("run -p x -n 1 --devices cuda:2");
  EXPECT_EQ(got.exit_code, 2);
  EXPECT_THAT(got.err, HasSubstr("no such GPU"));
  EXPECT_THAT(got.err, HasSubstr("cuda:2"));
}

constexpr const char* kShort =
    "bench --json --prompt 4 --gen 1 --repeat 1 --min-seconds 0 --ceiling-seconds 0.001 ";

// What `run` decides by a calibration in which a reduction takes so long and links take no time.
std::string split_chosen_with(const std::string& profile, double all_reduce_us) {
  std::ifstream stream(profile);
  auto json = nlohmann::json::parse(stream);
  stream.close();
  json["engines"][0]["backends"]["cuda"]["all_reduce_us"] = all_reduce_us;
  json["machine"]["links"][0]["latency_us"] = 0;
  std::ofstream(profile) << json;
  setenv("TANDEM_CALIBRATION", profile.c_str(), 1);
  ProgramTerms terms;
  terms.program = TANDEM_EMULATED_PROGRAM;
  const auto got = run_tandem("run --devices cuda:0,cuda:1 -p x -n 1 -c 128", terms);
  unsetenv("TANDEM_CALIBRATION");
  return got.err;
}

TEST_F(EmulatedProgram, BenchMeasuresGpus) {
  const std::string profile = (std::filesystem::temp_directory_path() /
                               ("tandem_gpus_" + std::to_string(getpid()) + ".json"))
                                  .string();
  const auto got = run(kShort + std::string("--devices cuda:0,cuda:1 --calibrate ") + profile);
  ASSERT_EQ(got.exit_code, 0) << got.err;
  const auto json = nlohmann::json::parse(got.out);
  EXPECT_EQ(json["devices"][1]["id"], "cuda:1");
  for (const char* device : {"cuda:0", "cuda:1"}) {
    for (const char* rate :
         {"read_gbps", "typical_read_gbps", "int8_gops", "bf16_gflops", "float_gflops"}) {
      EXPECT_GT(json["ceilings"][device][rate], 0.0) << rate;
    }
  }
  const auto& together = json["ceilings"]["together"];
  ASSERT_EQ(together.size(), 1u);
  EXPECT_GE(together[0]["read_gbps"], json["ceilings"]["cuda:0"]["read_gbps"]);
  const auto& link = json["ceilings"]["links"][0];
  EXPECT_EQ(link["transport"], "peer");
  for (const char* figure : {"latency_us", "bandwidth_gbps", "all_reduce_us"}) {
    EXPECT_GT(link[figure], 0.0) << figure;
  }
  ASSERT_EQ(json["rows"].size(), 3u);  // one device, tensor, pipeline
  for (const auto& row : json["rows"]) {
    EXPECT_GT(row["predicted_prefill_tokens_per_s"], 0.0);
    EXPECT_GT(row["predicted_decode_tokens_per_s"], 0.0);
    for (const char* phase : {"prefill", "decode"}) {
      EXPECT_GT(row[phase]["tokens_per_s"], 0.0);
      EXPECT_GT(row[phase]["ceiling_fraction"], 0.0);
      double sum = row[phase]["efficiency"];
      for (const auto& loss : row[phase]["losses"]) sum += loss.get<double>();
      EXPECT_NEAR(sum, 1.0, 1e-6) << row["plan"];
    }
  }
  // The row that the constants were fitted to is as predicted, as far as a share can make it so.
  const auto& one = json["rows"][0];
  EXPECT_LT(one["predicted_decode_tokens_per_s"], 1.02 * one["decode_tokens_per_s"].get<double>());
  EXPECT_THAT(split_chosen_with(profile, 1e6), HasSubstr("2-stage pipeline"));
  EXPECT_THAT(split_chosen_with(profile, 0), HasSubstr("2-way tensor"));
  std::filesystem::remove(profile);
}

// Faults must be found where they were put, also in devices that work behind the host's calls.
TEST_F(EmulatedProgram, BenchFindsInjectedFaults) {
  const auto got = run(kShort + std::string("--devices cuda:0,cuda:1 --plans tensor "
                                            "--inject-slowdown 0,6 --inject-link-delay-us 20000"));
  ASSERT_EQ(got.exit_code, 0) << got.err;
  const auto row = nlohmann::json::parse(got.out)["rows"][1]["decode"];
  EXPECT_EQ(row["slowest_device"], "cuda:1");
  EXPECT_GT(row["slower_by"], 1.0);
  EXPECT_GT(row["losses"]["imbalance"], 0.15);
  EXPECT_GT(row["losses"]["all_reduce_latency"], 0.1);
}

}  // namespace
}  // namespace tandem
