// examples/fleet.toml as it is run: a worker is killed under load, a model is evicted for another,
// the file is read again, and the fleet ends when it is told to.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <string>

#include "support/fleet_process.h"
#include "support/run_program.h"

namespace tandem {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* kAdmin = "Authorization: Bearer admin-of-the-test\r\n";

void replace(std::string& text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
}

class FleetExample : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "the example needs two cores";
    folder_ = ::testing::TempDir() + "fleet_example_" + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
    path_ = folder_ + "/fleet.toml";
    text_ = read_file(std::string(TANDEM_SOURCE_DIR) + "/examples/fleet.toml");
    replace(text_, "127.0.0.1:8080\"]", "127.0.0.1:0\"]");
    text_ +=
        "\n[[key]]\nname = \"anybody\"\nanonymous = true\n"
        "[[key]]\nname = \"admin\"\nkey = \"admin-of-the-test\"\nadmin = true\n";
    leave_room_for_two();
    std::ofstream(path_) << text_;
    ASSERT_TRUE(fleet_.start(TANDEM_PROGRAM, path_, folder_ + "/log"));
  }
  void TearDown() override {
    if (HasFailure()) std::fputs(read_file(folder_ + "/log").c_str(), stderr);
    std::filesystem::remove_all(folder_);
  }

  // So much of the host's memory is reserved that the third model has to evict one.
  void leave_room_for_two() {
    std::ofstream(path_) << text_;
    const auto run = run_tandem("fleet " + path_ + " --plan-only --json");
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const Json plan = Json::parse(run.out);
    const Json& host = plan["pools"].back();
    ASSERT_TRUE(host["total_bytes"].is_number());
    const std::int64_t third = plan["models"][2]["memory"]["host"];
    const std::int64_t room = host["resident_bytes"].get<std::int64_t>() + third / 2;
    replace(text_, "host_reserve = \"256MiB\"",
            "host_reserve = " + std::to_string(host["total_bytes"].get<std::int64_t>() - room));
  }

  Json model(const std::string& name) const {
    const Json list = Json::parse(fetch(fleet_.port(), "GET", "/v1/models").body);
    for (const Json& entry : list["data"]) {
      if (entry["id"] == name) return entry;
    }
    return {};
  }
  bool is(const std::string& name, const std::string& state) const {
    return model(name)["status"] == state;
  }
  pid_t pid_of(const std::string& name) const {
    const Json pid = model(name)["placement"][0]["pid"];
    return pid.is_number() ? pid.get<pid_t>() : 0;
  }
  TestResponse complete(const std::string& name, int tokens, bool stream = false) const {
    const Json body = {{"model", name},      {"prompt", "The LORD is"}, {"max_tokens", tokens},
                       {"temperature", 0.0}, {"stream", stream},        {"ignore_eos", true}};
    return fleet_.complete(body.dump());
  }

  std::string folder_;
  std::string path_;
  std::string text_;
  FleetProcess fleet_;
};

TEST_F(FleetExample, SurvivesAKillAnEvictionAndAReload) {
  ASSERT_TRUE(comes_true([&] { return is("genesis", "ready") && is("psalms", "ready"); }));
  EXPECT_EQ(model("proverbs")["status"], "unloaded");
  const std::string whole = Json::parse(complete("genesis", 200).body)["choices"][0]["text"];

  // A worker dies under load: the other model's stream loses nothing, and it is back by itself.
  auto stream = std::async(std::launch::async, [&] { return complete("genesis", 200, true); });
  const pid_t killed = pid_of("psalms");
  ASSERT_GT(killed, 0);
  kill(killed, SIGKILL);
  const TestResponse waited = complete("psalms", 4);
  EXPECT_EQ(waited.status, 200) << waited.body;
  EXPECT_TRUE(comes_true([&] { return pid_of("psalms") > 0 && pid_of("psalms") != killed; }));
  const TestResponse streamed = stream.get();
  std::string joined;
  for (std::size_t at = 0; (at = streamed.body.find("data: {", at)) != std::string::npos; ++at) {
    const std::size_t end = streamed.body.find('\n', at);
    const Json event = Json::parse(streamed.body.substr(at + 6, end - at - 6));
    if (!event["choices"].empty()) joined += event["choices"][0].value("text", "");
  }
  EXPECT_EQ(joined, whole);
  EXPECT_THAT(streamed.body, HasSubstr("data: [DONE]"));

  // There is room for two: the third evicts the one that is idle and not pinned.
  const pid_t pinned = pid_of("genesis");
  const TestResponse third = complete("proverbs", 4);
  ASSERT_EQ(third.status, 200) << third.body;
  EXPECT_EQ(Json::parse(third.body)["model"], "proverbs");
  EXPECT_EQ(model("psalms")["status"], "unloaded");
  EXPECT_EQ(pid_of("genesis"), pinned);
  EXPECT_EQ(complete("psalms", 4).status, 200) << "and back";

  // Reading the file again changes what changed and nothing else.
  EXPECT_EQ(complete("first", 1).status, 404);
  replace(text_, "aliases = [\"default\"]", "aliases = [\"default\", \"first\"]");
  std::ofstream(path_, std::ios::trunc) << text_;
  EXPECT_EQ(run_tandem("fleet reload " + path_).exit_code, 0);
  EXPECT_TRUE(comes_true([&] { return complete("first", 1).status == 200; }));
  EXPECT_EQ(pid_of("genesis"), pinned);

  // By hand, and only with a key that may.
  const std::string psalms = R"({"model": "psalms"})";
  EXPECT_EQ(fetch(fleet_.port(), "POST", "/models/unload", psalms).status, 401);
  EXPECT_EQ(fetch(fleet_.port(), "POST", "/models/unload", psalms, kAdmin).status, 200);
  EXPECT_TRUE(comes_true([&] { return is("psalms", "unloaded"); }));

  EXPECT_EQ(fleet_.stop(), 0);
  EXPECT_TRUE(comes_true([&] { return kill(pinned, 0) != 0; })) << "workers end with the fleet";
}

}  // namespace
}  // namespace tandem
