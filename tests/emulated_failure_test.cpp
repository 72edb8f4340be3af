// A GPU that is lost under the whole program, on two emulated ones: what its users and its
// supervisor learn (tests/emulated/injected_fault.cpp).

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/fleet_process.h"
#include "support/run_program.h"

namespace tandem {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class EmulatedFailure : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "emulated_failure_" + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
    setenv("LD_LIBRARY_PATH", TANDEM_STANDIN_FOLDER, 1);
    setenv("TANDEM_SIMT_RACES", "0", 1);
    setenv("TANDEM_EMULATED_FAULT", (folder_ + "/fault").c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : {"LD_LIBRARY_PATH", "TANDEM_SIMT_RACES", "TANDEM_EMULATED_FAULT"}) {
      unsetenv(name);
    }
    if (HasFailure()) std::fputs(read_file(folder_ + "/log").c_str(), stderr);
    std::filesystem::remove_all(folder_);
  }

  // The next process that starts finds that its second GPU fails after so many operations: beyond
  // what loading and the groups' trials take, and soon enough in an answer.
  void let_the_next_process_lose_its_gpu() const {
    std::ofstream(folder_ + "/fault") << "1 " << kOperations << '\n';
  }

  void start_fleet() {
    const std::string path = folder_ + "/fleet.toml";
    std::ofstream(path) << "[fleet]\nlisten = [\"127.0.0.1:0\"]\n[supervision]\n"
                           "restart_delay_s = 0.1\n[[model]]\nname = \"m\"\nfile = \"builtin\"\n"
                           "devices = [\"cuda:0\", \"cuda:1\"]\nsplit = \"tensor\"\n"
                           "context = 128\nparallel = 1\nload = \"on-demand\"\n";
    ASSERT_TRUE(fleet_.start(TANDEM_EMULATED_PROGRAM, path, folder_ + "/log"));
  }
  Json backend() const {
    const Json placement =
        Json::parse(fetch(fleet_.port(), "GET", "/v1/models/m").body)["placement"];
    return placement.empty() ? Json::object() : placement[0];
  }
  // 200 where all of it came.
  int complete(int tokens) const {
    const std::string body = Json{
        {"model", "m"},
        {"prompt", "In the beginning"},
        {"max_tokens", tokens},
        {"temperature", 0.0},
        {"ignore_eos", true}}.dump();
    return fleet_.complete(body).status;
  }

  static constexpr int kOperations = 800;
  std::string folder_;
  FleetProcess fleet_;
};

TEST_F(EmulatedFailure, EndsRunWithACodeOfItsOwn) {
  let_the_next_process_lose_its_gpu();
  ProgramTerms terms;
  terms.program = TANDEM_EMULATED_PROGRAM;
  const auto got = run_tandem(
      "run -p 'In the beginning' -n 100 --temp 0 -c 128 --devices cuda:0,cuda:1 --split tensor",
      terms);
  EXPECT_EQ(got.exit_code, 5) << got.err;
  EXPECT_THAT(got.err, HasSubstr("cuda:1: "));
  EXPECT_THAT(got.err, HasSubstr("cudaErrorIllegalAddress"));
  EXPECT_THAT(got.err, HasSubstr("(in step "));
}

// The worker loses its GPU in the middle of an answer and ends; the fleet names the GPU and starts
// another process, which finds it well.
TEST_F(EmulatedFailure, IsUnderstoodByTheFleet) {
  start_fleet();  // itself a process that would take the fault
  let_the_next_process_lose_its_gpu();
  (void)complete(100);  // whether it waits for the successor or is told is not this test's
  ASSERT_TRUE(comes_true([&] { return backend()["device_failures"] == 1; }));
  EXPECT_THAT(read_file(folder_ + "/log"), HasSubstr("m/0: cuda:1 failed under it; it ended with "
                                                     "exit code 5"));
  ASSERT_TRUE(comes_true([&] { return backend()["state"] == "ready"; }));
  EXPECT_TRUE(backend()["failed_device"].is_null());
  EXPECT_EQ(complete(4), 200);
}

}  // namespace
}  // namespace tandem
