// tandem doctor as scripts see it, on this machine: as it is, and with libraries in the place of
// NVIDIA's driver (tests/standin) that show two cards.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/run_program.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;

const Json* finding(const Json& document, const std::string& id) {
  for (const Json& item : document["findings"])
    if (item["id"] == id) return &item;
  return nullptr;
}

bool has_nvidia() {
  return fs::exists("/proc/driver/nvidia") || fs::exists("/usr/bin/nvidia-smi");
}

TEST(DoctorCommand, AMachineWithoutGpusIsToldSoAndIsNoError) {
  if (has_nvidia()) GTEST_SKIP() << "this machine has NVIDIA's driver";
  const ProgramRun text = run_tandem("doctor");
  EXPECT_EQ(text.exit_code, 0) << text.err;
  const ProgramRun run = run_tandem("doctor --json");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const Json document = Json::parse(run.out);
  const Json& host = document["machine"]["host"];
  EXPECT_TRUE(host["cpu"].is_string());
  EXPECT_GE(host["cores"].get<int>(), 1);
  EXPECT_GT(host["memory_bytes"].get<std::int64_t>(), 0);
  EXPECT_GE(host["numa_nodes"].get<int>(), 1);
  EXPECT_THAT(text.out, HasSubstr(host["cpu"].get<std::string>()));
  EXPECT_THAT(text.out, HasSubstr("NUMA node"));
  if (finding(document, "gpu-without-driver") != nullptr) return;  // a GPU, but none to compute on
  ASSERT_NE(finding(document, "no-gpu"), nullptr);
  EXPECT_THAT(text.out, HasSubstr("No GPU here"));
  EXPECT_EQ(document["verdict"], "ok");
}

class StandinDriver : public ::testing::Test {
 protected:
  void SetUp() override {
    if (has_nvidia()) GTEST_SKIP() << "this machine has NVIDIA's driver";
    busy_ = fs::temp_directory_path() / ("tandem_standin_" + std::to_string(getpid()));
    fs::remove(busy_);
    setenv("LD_LIBRARY_PATH", TANDEM_STANDIN_FOLDER, 1);
    setenv("TANDEM_STANDIN_BUSY", busy_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("LD_LIBRARY_PATH");
    unsetenv("TANDEM_STANDIN_BUSY");
    unsetenv("TANDEM_STANDIN_FAULT");
    fs::remove(busy_);
  }
  Json doctor(const std::string& flags, int exit_code) {
    const ProgramRun run = run_tandem("doctor --json " + flags);
    EXPECT_EQ(run.exit_code, exit_code) << run.err << run.out;
    return Json::parse(run.out, nullptr, false);
  }
  fs::path busy_;
};

TEST_F(StandinDriver, AnIdleLinkIsShownAndNotBlamed) {
  const Json document = doctor("", 0);
  const Json& device = document["machine"]["devices"][0];
  EXPECT_EQ(device["id"], "cuda:0");
  EXPECT_EQ(device["name"], "NVIDIA RTX A6000");
  EXPECT_EQ(device["pcie"]["generation"], 1);
  EXPECT_EQ(device["pcie"]["max_generation"], 4);
  EXPECT_EQ(finding(document, "pcie-generation-low"), nullptr);
  EXPECT_EQ(document["machine"]["links"][0]["peer_access"], nullptr);
}

TEST_F(StandinDriver, LoadTrainsTheLinksUpAndClimbsTheLadder) {
  const Json document = doctor("--load", 0);
  EXPECT_EQ(document["machine"]["devices"][0]["pcie"]["generation"], 4);
  const Json& link = document["machine"]["links"][0];
  EXPECT_EQ(link["peer_access"], true);
  EXPECT_GT(link["bandwidth_gbps"].get<double>(), 0);
  ASSERT_NE(finding(document, "peer-verified"), nullptr) << document.dump(2);
  EXPECT_THAT((*finding(document, "peer-verified"))["evidence"][0].get<std::string>(),
              HasSubstr("sums of a reduction right on both"));
}

TEST_F(StandinDriver, WithoutAccessThePairIsTriedThroughHostMemory) {
  setenv("TANDEM_STANDIN_FAULT", "no-access", 1);
  const Json document = doctor("--load", 0);
  EXPECT_EQ(document["machine"]["links"][0]["peer_access"], false);
  ASSERT_NE(finding(document, "peer-verified"), nullptr) << document.dump(2);
  EXPECT_THAT((*finding(document, "peer-verified"))["evidence"][0].get<std::string>(),
              HasSubstr("copies through host memory whole both ways"));
}

TEST_F(StandinDriver, PeerAccessThatLiesIsAnError) {
  setenv("TANDEM_STANDIN_FAULT", "loads-are-zero", 1);
  const Json document = doctor("--load", 3);
  EXPECT_EQ(document["verdict"], "error");
  ASSERT_NE(finding(document, "peer-reduction-broken"), nullptr) << document.dump(2);
  EXPECT_THAT((*finding(document, "peer-reduction-broken"))["evidence"][0].get<std::string>(),
              HasSubstr("sums are wrong"));
  EXPECT_EQ(finding(document, "peer-verified"), nullptr);
}

TEST_F(StandinDriver, CopiesThatChangeAreAnError) {
  setenv("TANDEM_STANDIN_FAULT", "copies-change", 1);
  const Json document = doctor("--load", 3);
  ASSERT_NE(finding(document, "peer-copy-broken"), nullptr) << document.dump(2);
}

TEST_F(StandinDriver, ADriverThatCrashesLeavesTheRestOfTheReport) {
  setenv("TANDEM_STANDIN_FAULT", "copies-crash", 1);
  const Json document = doctor("--load", 3);
  ASSERT_NE(finding(document, "peer-copy-broken"), nullptr) << document.dump(2);
  EXPECT_EQ(document["machine"]["devices"][0]["name"], "NVIDIA RTX A6000");
}

}  // namespace
}  // namespace tandem
