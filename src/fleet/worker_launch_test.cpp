#include "fleet/worker_launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

namespace tandem {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

class WorkerLaunchTest : public testing::Test {
 protected:
  WorkerSettings::Start start_of(const ModelConfig& model, const PlacedReplica& replica) {
    auto start = next_start(config_, model, replica, "/usr/bin/tandem", *folder_);
    EXPECT_TRUE(start.ok()) << (start.ok() ? "" : start.error().to_string());
    return start.ok() ? *start : WorkerSettings::Start();
  }
  // What follows `flag` in a command.
  static std::string value_of(const std::vector<std::string>& command, const std::string& flag) {
    const auto found = std::ranges::find(command, flag);
    return found == command.end() || found + 1 == command.end() ? "" : *(found + 1);
  }

  FleetConfig config_;
  std::unique_ptr<RuntimeFolder> folder_ = *RuntimeFolder::create();
};

TEST_F(WorkerLaunchTest, TandemGetsItsPlanAndASocketOfItsOwn) {
  ModelConfig model;
  model.name = "m";
  model.file = "/models/m.gguf";
  model.arguments = {"--draft-tokens", "4"};
  PlacedReplica replica;
  replica.devices = {"cpu:0-3"};
  replica.plan = Plan();
  const auto first = start_of(model, replica);
  const auto second = start_of(model, replica);
  EXPECT_EQ(first.launch.command[0], "/usr/bin/tandem");
  EXPECT_EQ(value_of(first.launch.command, "-m"), "/models/m.gguf");
  EXPECT_EQ(value_of(first.launch.command, "--alias"), "m");
  EXPECT_EQ(value_of(first.launch.command, "--host"), first.address.unix_path);
  EXPECT_EQ(value_of(first.launch.command, "--draft-tokens"), "4");
  EXPECT_TRUE(std::filesystem::exists(value_of(first.launch.command, "--plan")));
  EXPECT_NE(first.address.unix_path, second.address.unix_path);
  // No GPU was placed: none is seen.
  EXPECT_EQ(first.launch.environment.at("CUDA_VISIBLE_DEVICES"), "");
  replica.devices = {"cuda:1"};
  EXPECT_FALSE(start_of(model, replica).launch.environment.contains("CUDA_VISIBLE_DEVICES"));
}

TEST_F(WorkerLaunchTest, TheBuiltInModelNeedsNoFile) {
  ModelConfig model;
  model.name = "m";
  model.builtin = true;
  const auto start = start_of(model, {});
  EXPECT_THAT(start.launch.command, testing::Not(Contains("-m")));
}

TEST_F(WorkerLaunchTest, AnotherProgramsCommandIsFilledInOnce) {
  WorkerConfig worker;
  worker.name = "llama";
  worker.command = {"llama-server",     "-m",       "{model}", "--port", "{port}",
                    "{name}-{context}", "{unknown}"};
  worker.environment = {{"WHERE", "{devices}"}};
  config_.workers = {worker};
  ModelConfig model;
  model.name = "{port}";  // a value is not looked through again
  model.file = "/models/m.gguf";
  model.worker = "llama";
  model.placement.plan.context_tokens = 512;
  PlacedReplica replica;
  replica.devices = {"cuda:2#0", "cuda:0"};
  const auto start = start_of(model, replica);
  EXPECT_THAT(start.launch.command,
              ElementsAre("llama-server", "-m", "/models/m.gguf", "--port",
                          std::to_string(start.address.port), "{port}-512", "{unknown}"));
  EXPECT_EQ(start.launch.environment.at("CUDA_VISIBLE_DEVICES"), "2,0");
  EXPECT_EQ(start.launch.environment.at("CUDA_DEVICE_ORDER"), "PCI_BUS_ID");
  EXPECT_EQ(start.launch.environment.at("WHERE"), "cuda:2#0,cuda:0");
}

TEST_F(WorkerLaunchTest, TheFolderIsForThisUserAloneAndGoes) {
  const std::string path = std::filesystem::path(folder_->next_path("x")).parent_path();
  struct stat facts {};
  ASSERT_EQ(::stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700u);
  folder_.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace tandem
