// The program as a user's scripts see it: exit codes, one clear line for each failure, one JSON
// document, sampling flags, pipes and Ctrl-C.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/run_program.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kOneCore = " --devices cpu:0 ";

class Cli : public ::testing::Test {
 protected:
  Cli() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::temp_directory_path() /
                 ("tandem_cli_" + std::string(info->name()) + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(directory_);
  }
  ~Cli() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& content) const {
    const auto path = directory_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }

  std::filesystem::path directory_;
};

// Refused with `exit_code` and one line that says `said`; nothing on standard output.
void expect_refused(const std::string& arguments, int exit_code, const std::string& said) {
  const auto run = run_tandem(arguments);
  EXPECT_EQ(run.exit_code, exit_code) << arguments << "\n" << run.err;
  EXPECT_EQ(run.out, "") << arguments;
  EXPECT_THAT(run.err, HasSubstr(said)) << arguments;
  std::string lines = run.err;  // but for the note on the embedded model
  if (lines.rfind("no -m given", 0) == 0) lines = lines.substr(lines.find('\n') + 1);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1) << arguments << "\n" << lines;
}

nlohmann::json json_of(const std::string& arguments) {
  const auto run = run_tandem(arguments);
  EXPECT_EQ(run.exit_code, 0) << arguments << "\n" << run.err;
  auto json = nlohmann::json::parse(run.out, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << arguments << "\n" << run.out;
  return json;
}

void expect_fields(const nlohmann::json& json, const std::vector<std::string>& fields) {
  for (const std::string& field : fields) EXPECT_TRUE(json.contains(field)) << field;
}

TEST_F(Cli, RefusesUnreadableModels) {
  expect_refused("run -m /no/such/file.gguf -p x", 2, "/no/such/file.gguf");
  expect_refused("run -m " + write("text.gguf", "not a model at all") + " -p x", 2, "text.gguf");
  expect_refused("run -m " + write("empty.gguf", "") + " -p x", 2, "empty.gguf");
  expect_refused("model inspect /no/such/file.gguf", 2, "/no/such/file.gguf");
  expect_refused("run -m " + directory_.string() + " -p x", 2, directory_.string());
}

TEST_F(Cli, RefusesWrongFlags) {
  expect_refused("run -p x --no-such-flag", 2, "--no-such-flag");
  expect_refused("run -p x -n many", 2, "many");
  expect_refused("run -p x -ts 3,x", 2, "x");
  expect_refused("run -p x -ts 3,-1 --devices cpu:0,cpu:1", 2, "cpu:1");
  expect_refused("run -p x --split sideways", 2, "sideways");
  expect_refused("run -p x -ngl half", 2, "half");
  expect_refused("run -p x --reduce-wire f8", 2, "f8");
  expect_refused("run -p x -l nonsense" + kOneCore, 2, "nonsense");
  expect_refused("nonsense", 2, "subcommand");
  expect_refused("serve --port 70000", 2, "0 to 65535");
  expect_refused("serve -c 12x", 2, "not a number");
}

TEST_F(Cli, TheLastOfAFlagGivenTwiceCounts) {
  const auto json =
      json_of("run --json -n 100 -p 'In the beginning' --temp 1 -n 2 --temp 0" + kOneCore);
  EXPECT_EQ(json["tokens"], nlohmann::json({270, 260}));
}

TEST_F(Cli, RefusesDevicesThatAreNotThere) {
  expect_refused("run -p x --devices gpu:7", 2, "gpu:7");
  expect_refused("run -p x --devices cpu:9999", 2, "9999");
  expect_refused("run -p x --devices cuda:99,cpu:0 -ngl 3", 2, "cuda:99");
  expect_refused("run -p x --devices cpu:0,cpu:1 --tp 3", 2, "3");
}

// What is missing and what to do: a build with CUDA, a driver or a GPU.
TEST_F(Cli, SaysWhatIsMissingForGpus) {
  if (std::filesystem::exists("/proc/driver/nvidia")) GTEST_SKIP() << "NVIDIA's driver is here";
  const auto run = run_tandem("run -p x --devices cuda:0");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("cuda:0"));
  EXPECT_THAT(run.err, testing::AnyOf(HasSubstr("no NVIDIA driver is installed or loaded; install"),
                                      HasSubstr("a build made where nvcc")));
}

TEST_F(Cli, SaysThatLayersCannotBeOnGpusThatAreNotThere) {
  const auto run = run_tandem("run --temp 0 -n 4 -p 'In the beginning' -ngl 99" + kOneCore);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("-ngl has no effect"));
  expect_refused("bench -ngl half", 2, "half");
  const auto help = run_tandem("run --help");
  EXPECT_THAT(help.out, HasSubstr("--n-gpu-layers"));
  EXPECT_THAT(help.out, HasSubstr("--reduce-wire"));
}

TEST_F(Cli, SaysThatAModelIsTooLarge) {
  expect_refused("run -p x -c 2000000000" + kOneCore, 4, "");
}

TEST_F(Cli, RefusesBadTokenListsAndEmptyInput) {
  const std::string out = " --out " + (directory_ / "x.npy").string();
  expect_refused("eval logits --tokens 1,x,3" + out, 2, "'x'");
  expect_refused("eval logits --tokens 1,99999" + out, 2, "99999");
  expect_refused("eval logits --tokens 1,2 --positions 2" + out, 2, "'2'");
  expect_refused("eval perplexity -f " + write("empty.txt", ""), 2, "two tokens");
  expect_refused("run -f /no/such/prompt.txt", 2, "/no/such/prompt.txt");
  expect_refused("run -f " + directory_.string(), 2, directory_.string());
}

TEST_F(Cli, RunPrintsOneJsonDocument) {
  const auto json = json_of("run --json --temp 0 -n 6 -p 'In the beginning'" + kOneCore);
  expect_fields(json,
                {"text", "tokens", "prompt_tokens", "finish_reason", "plan", "timings", "memory"});
  expect_fields(json["timings"],
                {"load_s", "prefill_s", "decode_s", "prefill_tokens_per_s", "decode_tokens_per_s"});
  EXPECT_EQ(json["prompt_tokens"], 5);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["tokens"], nlohmann::json({270, 260, 1035, 270, 609, 46}));
  EXPECT_EQ(json["text"], " of the reign of David,");
  ASSERT_EQ(json["memory"].size(), 1u);
  expect_fields(json["memory"]["cpu:0"], {"weights_bytes", "kv_bytes", "compute_bytes"});
}

TEST_F(Cli, OtherCommandsPrintOneJsonDocument) {
  const auto tokens = json_of("tokenize --json 'In the beginning'");
  EXPECT_EQ(tokens["tokens"], nlohmann::json({0, 1136, 260, 1785, 1243}));
  EXPECT_EQ(tokens["pieces"].size(), 5u);
  const auto perplexity =
      json_of("eval perplexity --json -f " +
              write("text.txt", "And it came to pass, that the LORD said.") + kOneCore);
  expect_fields(perplexity, {"perplexity", "nll", "tokens"});
  EXPECT_GT(perplexity["perplexity"], 1.0);
  const auto model =
      json_of("model inspect --json " TANDEM_SOURCE_DIR "/models/kjv-tiny-q8_0.gguf");
  EXPECT_EQ(model["architecture"], "llama");
}

std::string text_of(const std::string& flags) {
  return json_of("run --json -n 12 -p 'And it came to pass'" + kOneCore + flags)["text"];
}

TEST_F(Cli, TheSameSeedGivesTheSameText) {
  const std::string first = text_of("--temp 1 -s 7");
  EXPECT_EQ(text_of("--temp 1 -s 7"), first);
  EXPECT_NE(text_of("--temp 1 -s 8"), first);
}

TEST_F(Cli, StopTextEndsTheAnswerAndIsNotPrinted) {
  const auto json =
      json_of("run --json --temp 0 -n 40 -p 'In the beginning' --stop David" + kOneCore);
  EXPECT_EQ(json["finish_reason"], "stop");
  EXPECT_EQ(json["text"], " of the reign of ");
}

TEST_F(Cli, LogitBiasForbidsAndForces) {
  const auto plain = json_of("run --json --temp 0 -n 1 -p 'In the beginning'" + kOneCore);
  ASSERT_EQ(plain["tokens"], nlohmann::json({270}));
  const auto forbidden =
      json_of("run --json --temp 0 -n 1 -p 'In the beginning' -l 270-100" + kOneCore);
  EXPECT_NE(forbidden["tokens"], plain["tokens"]);
  const auto forced =
      json_of("run --json --temp 0 -n 2 -p 'In the beginning' -l 300+1000" + kOneCore);
  EXPECT_EQ(forced["tokens"], nlohmann::json({300, 300}));
}

TEST_F(Cli, PrintsNoColourAndNoProgressIntoAPipe) {
  const auto run = run_tandem("run --temp 0 -n 4 -p 'In the beginning'" + kOneCore);
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "In the beginning of the reign of\n");
  EXPECT_THAT(run.err, Not(HasSubstr("\x1b")));
  EXPECT_THAT(run.err, Not(HasSubstr("\r")));
}

TEST_F(Cli, ReadsAPromptFromStandardInput) {
  const auto run = run_tandem("run --temp 0 -n 4 --no-display-prompt -f -" + kOneCore,
                              {.input = "In the beginning"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, " of the reign of\n");
}

TEST_F(Cli, ChatsThroughAPipe) {
  const auto run = run_tandem("run --temp 0 -n 5" + kOneCore,
                              {.input = "Hello\n\n/clear\nHello\n/exit\nmore\n"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  // Two equal answers: the second begins afresh.
  ASSERT_EQ(run.out.size() % 2, 0u) << run.out;
  EXPECT_GT(run.out.size(), 2u);
  EXPECT_EQ(run.out.substr(0, run.out.size() / 2), run.out.substr(run.out.size() / 2));
}

TEST_F(Cli, CtrlCStopsTheAnswerOfAChatAndNotTheProgram) {
  // Endless answers in a context of which they fill little before the signal.
  const auto run = run_tandem("run --temp 0 --ignore-eos -n -1 -c 100000" + kOneCore,
                              {.input = "Hello\n", .interrupt_after_output = true});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_GT(run.out.size(), 0u);
  EXPECT_LT(run.out.size(), 100'000u);
}

}  // namespace
}  // namespace tandem
