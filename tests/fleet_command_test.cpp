// `tandem fleet FILE --check` and `--plan-only` as a user's script sees them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/run_program.h"

namespace tandem {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class FleetCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "fleet_command_" + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }
  std::string with(const std::string& toml) const { return "fleet " + write("fleet.toml", toml); }

  std::string folder_;
};

const std::string kExample = std::string(TANDEM_SOURCE_DIR) + "/examples/fleet.toml";
const std::string kModel = "[[model]]\nname = \"m\"\nfile = \"builtin\"\n";

TEST_F(FleetCommand, TheExampleIsRightAndFits) {
  const auto run = run_tandem("fleet " + kExample + " --check --json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = Json::parse(run.out);
  EXPECT_EQ(json["ok"], true);
  EXPECT_EQ(json["models"], (Json{"genesis", "psalms", "proverbs"}));
}

TEST_F(FleetCommand, ThePlanSaysWhereEachModelLies) {
  const auto run = run_tandem("fleet " + kExample + " --plan-only --json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = Json::parse(run.out);
  EXPECT_EQ(json["fits"], true);
  const Json& replica = json["models"][0]["replicas"][0];
  EXPECT_EQ(replica["cores"], Json{0});
  EXPECT_EQ(replica["plan"]["stages"][0]["devices"][0]["device"], "cpu:0");
  std::int64_t sum = 64 << 20;  // the process
  for (const Json& share : replica["devices"]) sum += share["total_bytes"].get<std::int64_t>();
  EXPECT_EQ(json["models"][0]["memory"]["host"], sum);
  EXPECT_EQ(json["models"][2]["resident"], false);
  EXPECT_THAT(run_tandem("fleet " + kExample + " --plan-only").out, HasSubstr("host  "));
}

TEST_F(FleetCommand, WrongFilesAreOneLineAnErrorAndExitCode2) {
  const auto run = run_tandem(with(kModel + "paralel = 2\nload = \"never\"\n") + " --check");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("fleet.toml:4: [[model]] m: unknown key \"paralel\""));
  EXPECT_THAT(run.err, HasSubstr("fleet.toml:5: [[model]] m: wrong value of `load`"));
  EXPECT_EQ(run_tandem("fleet " + folder_ + "/none.toml --check").exit_code, 2);
  const auto json = run_tandem(with("x") + " --check --json");
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_EQ(Json::parse(json.out)["ok"], false);
}

TEST_F(FleetCommand, WhatIsNoModelNamesItsLine) {
  write("m.gguf", "no model");
  const auto run = run_tandem(with("[[model]]\nname = \"m\"\nfile = \"m.gguf\"\n") + " --check");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("fleet.toml:1: [[model]] m: `file`"));
}

TEST_F(FleetCommand, ADeviceThatIsNotThereNamesItsLine) {
  const auto run = run_tandem(with("\n" + kModel + "devices = [\"cpu:9999\"]\n") + " --check");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("fleet.toml:2: [[model]] m: `devices`: "));
}

TEST_F(FleetCommand, ADeviceOfPlacementThatIsNotThereNamesItsLine) {
  const std::string toml = kModel + "[placement]\nhost_reserve = 0\ndevices = [\"cpu:9999\"]\n";
  const auto run = run_tandem(with(toml) + " --check");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("fleet.toml:6: [placement]: `devices`: "));
}

TEST_F(FleetCommand, WhatDoesNotFitIsExitCode4) {
  const auto run =
      run_tandem(with("[placement]\nhost_reserve = \"900TiB\"\n" + kModel) + " --plan-only");
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.out, HasSubstr("m does not fit"));
  EXPECT_THAT(run.err, HasSubstr("no room for m"));
}

TEST_F(FleetCommand, AnotherMachineIsPlannedForFromAFile) {
  const std::string machine = write("machine.json", R"({
    "devices": [{"id": "cuda:0", "kind": "gpu", "name": "RTX 3090", "memory_bytes": 25769803776}],
    "links": [], "host": {"cpu": "CPU", "cores": 8, "memory_bytes": 68719476736, "numa_nodes": 1}})");
  const auto run = run_tandem(with(kModel) + " --plan-only --json --machine " + machine);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(Json::parse(run.out)["models"][0]["replicas"][0]["gpus"], Json{0});
}

}  // namespace
}  // namespace tandem
