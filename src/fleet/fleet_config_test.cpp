#include "fleet/fleet_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

FleetConfigOutcome parse(const std::string& text) {
  return parse_fleet_config(text, "fleet.toml", "/etc/tandem");
}

// The only error of a text that has one.
std::string only_error(const std::string& text) {
  const FleetConfigOutcome outcome = parse(text);
  EXPECT_THAT(outcome.errors, SizeIs(1)) << text;
  return outcome.errors.empty() ? std::string() : outcome.errors.front().to_string();
}

constexpr const char* kModel = "[[model]]\nname = \"m\"\nfile = \"builtin\"\n";

std::string model_with(const std::string& lines) {
  return kModel + lines + "\n";
}

TEST(FleetConfig, SmallestFileHasDefaults) {
  const FleetConfigOutcome outcome = parse(kModel);
  ASSERT_THAT(outcome.errors, IsEmpty());
  const FleetConfig& config = outcome.config;
  ASSERT_THAT(config.models, SizeIs(1));
  const ModelConfig& model = config.models[0];
  EXPECT_EQ(model.name, "m");
  EXPECT_TRUE(model.builtin);
  EXPECT_EQ(model.file, "");
  EXPECT_FALSE(model.residency.on_demand);
  EXPECT_EQ(model.placement.replicas, 1);
  EXPECT_THAT(model.placement.devices, IsEmpty());
  EXPECT_EQ(model.placement.plan.max_sequences, 8);
  EXPECT_EQ(model.line.number, 1);
  EXPECT_THAT(config.listen.addresses, ElementsAre(ListenAddress{"127.0.0.1", 8080}));
}

TEST(FleetConfig, EveryKeyOfAModelIsRead) {
  const FleetConfigOutcome outcome = parse(R"(
[limits]
max_queued = 7
stall_timeout_s = 0.5
[[worker]]
name = "llama"
command = ["./bin/llama-server", "-m", "{model}", "--port", "{port}"]
[worker.env]
OMP_NUM_THREADS = "2"
[[model]]
name = "big"
aliases = ["large", "gpt-4"]
file = "models/big.gguf"
worker = "llama"
context = 8192
parallel = 4
batch = 256
kv_type = "q8_0"
split = "tensor"
shares = [3, 1]
devices = ["cuda:0", "cuda:1"]
load = "on-demand"
pinned = true
priority = 5
load_timeout_s = 90
max_concurrent = 3
listen = "127.0.0.1:9001"
memory = "1.5GiB"
args = ["--no-mmap"]
)");
  ASSERT_THAT(outcome.errors, IsEmpty());
  const ModelConfig& model = outcome.config.models.at(0);
  EXPECT_EQ(model.file, "/etc/tandem/models/big.gguf");
  EXPECT_THAT(model.aliases, ElementsAre("large", "gpt-4"));
  EXPECT_EQ(model.placement.plan.context_tokens, 8192);
  EXPECT_EQ(model.placement.plan.kv_type, ElementType::kQ8_0);
  EXPECT_EQ(model.placement.plan.split, SplitMode::kTensor);
  EXPECT_THAT(model.placement.plan.shares, ElementsAre(3, 1));
  EXPECT_THAT(model.placement.devices, ElementsAre(ElementsAre("cuda:0", "cuda:1")));
  EXPECT_EQ(model.placement.memory_bytes, 3 * kGiB / 2);
  EXPECT_TRUE(model.residency.on_demand && model.residency.pinned);
  EXPECT_EQ(model.residency.load_timeout_ms, 90'000);
  EXPECT_EQ(model.limits.max_concurrent, 3);
  EXPECT_EQ(model.limits.max_queued, 7) << "from [limits]";
  EXPECT_EQ(model.limits.stall_timeout_ms, 500);
  EXPECT_EQ(model.listen, (ListenAddress{"127.0.0.1", 9001}));
  const WorkerConfig* worker = outcome.config.find_worker("llama");
  ASSERT_NE(worker, nullptr);
  EXPECT_EQ(worker->command.front(), "/etc/tandem/bin/llama-server");
  EXPECT_EQ(worker->environment.at("OMP_NUM_THREADS"), "2");
}

TEST(FleetConfig, UpstreamsAndKeysAreRead) {
  const FleetConfigOutcome outcome = parse(R"(
[[upstream]]
name = "lab"
url = "https://[::1]:8443/api/"
models = { ours = "meta-llama/Llama-3" }
fallback = true
[[upstream]]
name = "plain"
url = "http://gpu7.local"
models = ["a", "b"]
[[key]]
name = "admin"
key = "secret"
admin = true
[[key]]
name = "anybody"
anonymous = true
models = ["a", "ours"]
requests_per_minute = 30
)");
  ASSERT_THAT(outcome.errors, IsEmpty());
  const UpstreamConfig& lab = outcome.config.upstreams.at(0);
  EXPECT_TRUE(lab.tls && lab.fallback);
  EXPECT_EQ(lab.host, "::1");
  EXPECT_EQ(lab.port, 8443);
  EXPECT_EQ(lab.base_path, "/api");
  EXPECT_THAT(lab.models, ElementsAre(UpstreamModel{"ours", "meta-llama/Llama-3"}));
  EXPECT_EQ(outcome.config.upstreams.at(1).port, 80);
  EXPECT_EQ(outcome.config.upstreams.at(1).base_path, "");
  EXPECT_THAT(outcome.config.served_names(), ElementsAre("ours", "a", "b"));
  EXPECT_TRUE(outcome.config.keys.at(0).admin);
  EXPECT_EQ(outcome.config.keys.at(1).requests_per_minute, 30);
}

TEST(FleetConfig, NamesAndAliasesLeadToTheModel) {
  const FleetConfigOutcome outcome = parse(model_with("aliases = [\"x\"]"));
  EXPECT_EQ(outcome.config.canonical_name("x"), "m");
  EXPECT_EQ(outcome.config.canonical_name("m"), "m");
  EXPECT_EQ(outcome.config.canonical_name("../m"), std::nullopt);
}

TEST(FleetConfig, ErrorsNameFileLineAndKey) {
  const std::string error = only_error(model_with("parallel = 0"));
  EXPECT_THAT(error, HasSubstr("fleet.toml:4:"));
  EXPECT_THAT(error, HasSubstr("[[model]] m"));
  EXPECT_THAT(error, HasSubstr("`parallel`"));
  EXPECT_THAT(error, HasSubstr("expected a whole number from 1 to 4096, got 0"));
}

TEST(FleetConfig, UnknownKeysComeWithTheNearest) {
  EXPECT_THAT(only_error(model_with("paralel = 2")), HasSubstr("the nearest is `parallel`"));
  EXPECT_THAT(only_error(std::string(kModel) + "[limit]\nx = 1\n"),
              HasSubstr("the nearest is `limits`"));
  EXPECT_THAT(only_error(std::string(kModel) + "[breaker]\nfailure = 1\n"),
              HasSubstr("fleet.toml:5: [breaker]: unknown key \"failure\""));
}

TEST(FleetConfig, AllErrorsAreReportedByLine) {
  const FleetConfigOutcome outcome =
      parse("[[model]]\nname = 3\nfile = \"builtin\"\nload = \"later\"\n[fleet]\nwebui = \"x\"\n");
  ASSERT_THAT(outcome.errors, SizeIs(3));
  EXPECT_THAT(outcome.errors[0].where, HasSubstr(":2"));
  EXPECT_THAT(outcome.errors[1].where, HasSubstr(":4"));
  EXPECT_THAT(outcome.errors[2].where, HasSubstr(":6"));
  EXPECT_THAT(first_of(outcome.errors).what, HasSubstr("[and 2 more]"));
}

struct BadModelLine {
  const char* line;
  const char* says;
};

TEST(FleetConfig, ValuesOfAModelAreChecked) {
  const BadModelLine kCases[] = {
      {"context = -1", "`context`"},
      {"context = 4294967296", "`context`"},
      {"kv_type = \"q4_0\"", "f16, f32 or q8_0"},
      {"split = \"rows\"", "`split`"},
      {"replicas = 0", "`replicas`"},
      {"replicas = \"many\"", "1 to 64 or \"auto\""},
      {"devices = \"cuda:0\"", "`devices`"},
      {"devices = [\"gpu0\"]", "not a device"},
      {"devices = [\"cuda:0\", \"cuda:0\"]", "a GPU is named twice"},
      {"devices = [\"auto\"]", "\"auto\" in a list"},
      {"devices = [\"cuda:0\", \"cuda:1\", \"cuda:2\"]\nreplicas = 2", "a multiple of 2"},
      {"devices = [[\"cuda:0\"], [\"cuda:1\"]]\nreplicas = 3", "as many as lists of devices: 2"},
      {"devices = [\"cuda:0\"]\nshares = [1, 2]", "one for each of the 1 devices"},
      {"shares = [1, 2]", "`devices` and a number of `replicas`"},
      {"shares = [0, 0]\ndevices = [\"cuda:0\", \"cuda:1\"]", "not all 0"},
      {"load = \"startup\"\npinned = true\nidle_unload_s = 5", "`idle_unload_s`"},
      {"idle_unload_s = nan", "`idle_unload_s`"},
      {"load_timeout_s = 1e300", "`load_timeout_s`"},
      {"memory = \"1.5 bananas\"", "`memory`"},
      {"memory = \"-1GiB\"", "`memory`"},
      {"listen = \"9000\"", "`listen`"},
      {"listen = \"127.0.0.1:8080\"", "is taken by [fleet]"},
      {"args = [\"--port=99\"]", "no flag that the fleet sets itself"},
      {"aliases = [\"\"]", "none empty"},
      {"aliases = [\"m\"]", "\"m\" is taken"},
      {"worker = \"vllm\"\nmemory = 1", "other programs have no built-in model"},
      {"priority = 1.5", "`priority`"},
      {"pinned = \"yes\"", "true or false"},
  };
  for (const BadModelLine& bad : kCases) {
    const FleetConfigOutcome outcome = parse(model_with(bad.line));
    ASSERT_FALSE(outcome.errors.empty()) << bad.line;
    std::string all;
    for (const Error& error : outcome.errors) all += error.to_string() + "\n";
    EXPECT_THAT(all, HasSubstr(bad.says)) << bad.line;
    EXPECT_EQ(exit_code_of(outcome.errors.front().code), 2);
  }
}

TEST(FleetConfig, OtherSectionsAreChecked) {
  const std::string model = kModel;
  EXPECT_THAT(only_error(model + "[fleet]\nlisten = [\"localhost\"]\n"), HasSubstr("`listen`"));
  EXPECT_THAT(only_error(model + "[fleet]\nssl_cert_file = \"a\"\n"), HasSubstr("go together"));
  EXPECT_THAT(only_error(model + "[fleet]\nmax_body = 0\n"), HasSubstr("1 GiB"));
  EXPECT_THAT(only_error(model + "[[upstream]]\nname=\"u\"\nurl=\"ftp://x\"\nmodels=[\"a\"]\n"),
              HasSubstr("`url`"));
  EXPECT_THAT(only_error(model + "[[upstream]]\nname=\"u\"\nurl=\"http://x:0\"\nmodels=[\"a\"]\n"),
              HasSubstr("`url`"));
  EXPECT_THAT(only_error(model + "[[upstream]]\nname=\"u\"\nurl=\"http://x\"\n"),
              HasSubstr("no `models`"));
  EXPECT_THAT(only_error(model + "[[key]]\nname=\"k\"\n"), HasSubstr("0 of them"));
  EXPECT_THAT(only_error(model + "[[key]]\nname=\"k\"\nanonymous=true\nadmin=true\n"),
              HasSubstr("anybody could load"));
  EXPECT_THAT(only_error(model + "[[key]]\nname=\"k\"\nkey=\"s\"\nmodels=[\"mm\"]\n"),
              HasSubstr("which nobody serves; the nearest is `m`"));
  EXPECT_THAT(only_error(model + "[[worker]]\nname=\"w\"\ncommand=[\"x\"]\n"),
              HasSubstr("{port} somewhere"));
  EXPECT_THAT(
      only_error(model + "[[worker]]\nname=\"w\"\ncommand=[\"x\",\"{port}\",\"{modle}\"]\n"),
      HasSubstr("{modle}; the nearest is `model`"));
  EXPECT_THAT(only_error("[fleet]\n"), HasSubstr("nothing to serve"));
  EXPECT_THAT(only_error("[[model]]\nname = \"a\"\n"), HasSubstr("no `file`"));
  EXPECT_THAT(only_error("x = [1,\n2"), HasSubstr("fleet.toml:2: not TOML"));
}

TEST(FleetConfig, ErrorsNeverShowKeys) {
  const std::string text = std::string(kModel) +
                           "[[key]]\nname=\"a\"\nkey=\"hunter2\"\n[[key]]\nname=\"b\"\n"
                           "key=\"hunter2\"\n";
  const std::string error = only_error(text);
  EXPECT_THAT(error, HasSubstr("[[key]] b: the same key as that of a"));
  EXPECT_EQ(error.find("hunter2"), std::string::npos);
}

TEST(FleetConfig, DevicesAreDividedAmongReplicas) {
  const auto devices_with = [](const std::string& lines) {
    const FleetConfigOutcome outcome = parse(model_with(lines));
    EXPECT_THAT(outcome.errors, IsEmpty());
    return outcome.config.models.at(0).placement.devices;
  };
  EXPECT_THAT(devices_with("devices = [\"cpu:0\", \"cpu:1\"]\nreplicas = 2"),
              ElementsAre(ElementsAre("cpu:0"), ElementsAre("cpu:1")));
  EXPECT_THAT(devices_with("devices = [\"cpu:0\", \"cpu:1\"]"),
              ElementsAre(ElementsAre("cpu:0", "cpu:1")));
  EXPECT_THAT(devices_with("devices = [\"cpu:0\"]\nreplicas = 2"),
              ElementsAre(ElementsAre("cpu:0"), ElementsAre("cpu:0")));
  EXPECT_THAT(devices_with("devices = [[\"cpu:0\"], [\"cpu:0\", \"cpu:1\"]]"),
              ElementsAre(ElementsAre("cpu:0"), ElementsAre("cpu:0", "cpu:1")));
}

TEST(FleetConfig, MovedLinesChangeNothing) {
  const FleetConfig first = parse(kModel).config;
  EXPECT_EQ(first, parse(std::string("# a comment\n\n") + kModel).config);
  EXPECT_NE(first, parse(model_with("priority = 1")).config);
}

// The seeds of the fuzz target: every key there is, and the example.
TEST(FleetConfig, SeedsAreAccepted) {
  for (const char* name :
       {"tests/fuzz/corpus/fleet_config/everything.toml", "examples/fleet.toml"}) {
    std::ifstream file(std::string(TANDEM_SOURCE_DIR) + "/" + name);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const FleetConfigOutcome outcome = parse(text);
    EXPECT_GE(outcome.config.models.size(), 3u) << name;
    EXPECT_THAT(outcome.errors, IsEmpty())
        << (outcome.errors.empty() ? "" : outcome.errors[0].to_string());
  }
}

class FleetConfigFile : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "fleet_config_" + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }
  std::string folder_;
};

TEST_F(FleetConfigFile, KeysComeFromFiles) {
  write("key", "  s3cret \nsecond line\n");
  const auto outcome = load_fleet_config(
      write("fleet.toml", model_with("[[key]]\nname = \"k\"\nkey_file = \"key\"")));
  ASSERT_THAT(outcome.errors, IsEmpty());
  EXPECT_EQ(outcome.config.keys.at(0).key, "s3cret");
}

TEST_F(FleetConfigFile, WhatIsNamedMustBeThere) {
  const auto outcome = load_fleet_config(write("fleet.toml", R"([[model]]
name = "m"
file = "none.gguf"
[[worker]]
name = "w"
command = ["no-such-program-here", "{port}"]
[[key]]
name = "k"
key_file = "none"
)"));
  ASSERT_THAT(outcome.errors, SizeIs(3));
  EXPECT_THAT(outcome.errors[0].to_string(), HasSubstr("[[model]] m: `file`"));
  EXPECT_THAT(outcome.errors[1].to_string(), HasSubstr("no such program"));
  EXPECT_THAT(outcome.errors[2].to_string(), HasSubstr("`key_file`"));
}

TEST_F(FleetConfigFile, NoFileIsOneError) {
  const auto outcome = load_fleet_config(folder_ + "/none.toml");
  ASSERT_THAT(outcome.errors, SizeIs(1));
  EXPECT_EQ(outcome.errors[0].code, ErrorCode::kNotFound);
  EXPECT_THAT(load_fleet_config(folder_).errors, SizeIs(1));
}

}  // namespace
}  // namespace tandem
