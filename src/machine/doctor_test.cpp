#include "machine/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::json;

const std::string kRecordings = std::string(TANDEM_SOURCE_DIR) + "/tests/recordings/";

struct Outcome {
  int code = -1;
  std::string text;
  std::string error;

  Json json() const { return Json::parse(text); }
  // "id:severity" of every finding.
  std::vector<std::string> findings() const {
    std::vector<std::string> list;
    const Json document = json();
    for (const Json& finding : document["findings"])
      list.push_back(finding["id"].get<std::string>() + ":" +
                     finding["severity"].get<std::string>());
    return list;
  }
};

Outcome run(const DoctorOptions& options) {
  std::ostringstream out;
  const auto code = run_doctor(options, out);
  if (!code.ok()) return {exit_code_of(code.error().code), out.str(), code.error().to_string()};
  return {*code, out.str(), {}};
}

Outcome judge_recording(const std::string& name) {
  DoctorOptions options;
  options.from = kRecordings + name;
  options.json = true;
  return run(options);
}

Outcome judge_build(const std::string& name) {
  DoctorOptions options;
  options.build = kRecordings + "builds/" + name;
  options.json = true;
  return run(options);
}

TEST(SyntheticMachine, Healthy) {
  const Outcome outcome = judge_recording("2x-a6000-healthy");
  EXPECT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_THAT(outcome.findings(), UnorderedElementsAre("healthy:ok"));
  EXPECT_EQ(outcome.json()["verdict"], "ok");
  const Json link = outcome.json()["machine"]["links"][0];
  EXPECT_EQ(link["kind"], "nvlink");
  EXPECT_EQ(link["peer_access"], true);
}

TEST(SyntheticMachine, OneCardBehindTheChipset) {
  const Outcome outcome = judge_recording("2x-rtx3090-chipset");
  EXPECT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_THAT(outcome.findings(),
              UnorderedElementsAre("behind-chipset:warning", "pcie-width:warning",
                                   "peer-access:info", "nvlink-bridge:info"));
  const Json device = outcome.json()["machine"]["devices"][0];
  EXPECT_EQ(device["pcie"]["width"], 4);
  EXPECT_EQ(device["pcie"]["max_width"], 16);
  EXPECT_EQ(device["pcie"]["generation"], 1);  // idle
}

TEST(SyntheticMachine, FourCardsOnOneBifurcatedSlot) {
  const Outcome outcome = judge_recording("4x-rtx3090-bifurcated");
  EXPECT_THAT(outcome.findings(),
              UnorderedElementsAre("pcie-width:warning", "pcie-width:warning", "pcie-width:warning",
                                   "pcie-width:warning", "peer-access:info", "nvlink-bridge:info"));
  EXPECT_THAT(outcome.json()["findings"][0]["title"].get<std::string>(), HasSubstr("bifurcated"));
  EXPECT_EQ(outcome.json()["machine"]["links"].size(), 6U);
}

TEST(SyntheticMachine, ADesktopsTwoHalfSlotsAreAsGoodAsItGets) {
  const Outcome outcome = judge_recording("2x-rtx4090-x8x8");
  EXPECT_EQ(outcome.json()["verdict"], "ok");
  EXPECT_THAT(outcome.findings(),
              UnorderedElementsAre("pcie-width:info", "pcie-width:info", "lanes:info",
                                   "peer-access:info", "healthy:ok"));
}

TEST(SyntheticMachine, ABadRiserIsAnError) {
  const Outcome outcome = judge_recording("2x-rtx4090-riser");
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.findings(), UnorderedElementsAre("pcie-width:error", "peer-access:info"));
}

TEST(SyntheticMachine, AcsAndIommuBetweenWorkstationCards) {
  const Outcome outcome = judge_recording("2x-a6000-switch-acs");
  EXPECT_THAT(
      outcome.findings(),
      UnorderedElementsAre("acs-redirect:warning", "iommu:warning", "shared-uplink:info",
                           "nvlink-bridge:info", "pcie-generation:info", "pcie-generation:info"));
  const Json document = outcome.json();
  const auto shared = std::find_if(document["findings"].begin(), document["findings"].end(),
                                   [](const Json& f) { return f["id"] == "shared-uplink"; });
  ASSERT_NE(shared, document["findings"].end());
  EXPECT_THAT((*shared)["advice"].get<std::string>(), HasSubstr("ACS sends copies"));
}

TEST(SyntheticMachine, LspciAlone) {
  const Outcome outcome = judge_recording("rtx3090-m2-and-nouveau");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.findings(),
              UnorderedElementsAre("gpu-without-driver:warning", "pcie-width:warning",
                                   "behind-chipset:warning", "pcie-width:info",
                                   "pcie-generation:info", "rebar-off:info", "mixed-gpus:info"));
}

TEST(SyntheticMachine, TwoMachinesMixedAreRefused) {
  const Outcome outcome = judge_recording("two-machines-mixed");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.error, HasSubstr("another machine"));
  EXPECT_THAT(outcome.error, HasSubstr("b.xml"));
  EXPECT_EQ(outcome.text, "");
}

TEST(Build, AWellPlannedMachine) {
  const Outcome outcome = judge_build("2x-rtx4090-ok.toml");
  EXPECT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_THAT(outcome.findings(), UnorderedElementsAre("peer-access:info", "healthy:ok"));
}

TEST(Build, AWeakOneLacksMuch) {
  const Outcome outcome = judge_build("2x-rtx4090-weak.toml");
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.findings(),
              UnorderedElementsAre("psu-sustained:error", "psu-excursion:warning", "circuit:error",
                                   "build-space:error", "build-cooling:warning",
                                   "behind-chipset:warning", "pcie-width:warning", "lanes:info",
                                   "peer-access:info", "host-memory:info", "build-minimum:info"));
}

class BuildFile : public ::testing::Test {
 protected:
  void TearDown() override { fs::remove(file_); }
  Outcome judge(const std::string& text) {
    std::ofstream(file_) << text;
    DoctorOptions options;
    options.build = file_.string();
    options.json = true;
    return run(options);
  }
  fs::path file_ = fs::temp_directory_path() / ("tandem_build_" + std::to_string(getpid()));
};

std::string two_cards_at(int first, int second, const std::string& more = "") {
  const auto slot = [](int position) {
    return "[[slot]]\nwidth = 8\nposition = " + std::to_string(position) + "\n";
  };
  return "cpu = \"AMD Ryzen 9 7950X\"\n[[gpu]]\nname = \"RTX 4090\"\ncount = 2\nslots = 3\n" +
         more + slot(first) + slot(second) + "[case]\nslots = 8\n";
}

TEST_F(BuildFile, CardsNeedRoomAndAir) {
  const auto severity = [&](const std::string& text) {
    for (const std::string& found : judge(text).findings())
      if (found.starts_with("build-spacing")) return found.substr(14);
    return std::string("none");
  };
  EXPECT_EQ(severity(two_cards_at(1, 5)), "none");
  EXPECT_EQ(severity(two_cards_at(5, 1)), "none");  // the order does not matter
  EXPECT_EQ(severity(two_cards_at(1, 4)), "warning");
  EXPECT_EQ(severity(two_cards_at(1, 4, "liquid_cooled = true\n")), "none");
  EXPECT_EQ(severity(two_cards_at(1, 3)), "error");
  EXPECT_EQ(severity(two_cards_at(1, 7)), "error");  // the second ends beyond the case
  EXPECT_EQ(severity(two_cards_at(1, 3) + "open_frame = true\n"), "none");
}

TEST_F(BuildFile, SlotsLanesAndUnknownProcessors) {
  const std::string cards = "[[gpu]]\nname = \"RTX 4090\"\ncount = 2\n";
  const std::string slot = "[[slot]]\nwidth = 16\ngeneration = 4\n";
  const std::string desktop = "cpu = \"AMD Ryzen 9 7950X\"\n";
  const std::string server = "cpu = \"AMD EPYC 9354\"\n";
  const auto found = [&](const std::string& text) { return judge(text).findings(); };
  EXPECT_THAT(found(desktop + cards + slot), ::testing::Contains("build-slots:error"));
  EXPECT_THAT(found(server + cards + slot + slot),
              Not(::testing::Contains(HasSubstr("build-slots"))));
  EXPECT_THAT(found(desktop + cards + slot + slot), ::testing::Contains("build-lanes:warning"));
  EXPECT_THAT(found(server + cards + slot + slot),
              Not(::testing::Contains(HasSubstr("build-lanes"))));
  EXPECT_THAT(found("cpu = \"Elbrus-8S\"\n" + cards + slot + slot),
              ::testing::Contains("build-cpu-unknown:info"));
  EXPECT_THAT(found(server + cards + slot + slot),
              Not(::testing::Contains(HasSubstr("build-cpu-unknown"))));
}

TEST_F(BuildFile, ThePowerBudgetAgainstASupplyThatIsAskedFor) {
  DoctorOptions options;
  options.from = kRecordings + "2x-rtx4090-x8x8";
  options.json = true;
  const auto found = [&](double watts) {
    options.psu_watts = watts;
    return run(options).findings();
  };
  EXPECT_THAT(found(850), ::testing::Contains("psu-sustained:error"));
  EXPECT_THAT(found(1300), ::testing::Contains("psu-sustained:warning"));
  EXPECT_THAT(found(2500), Not(::testing::Contains(HasSubstr("psu-"))));
  options.psu_watts = -1;
  EXPECT_EQ(run(options).code, 2);
}

TEST(Build, MistakesNameTheirPlace) {
  const fs::path file = fs::temp_directory_path() / ("tandem_build_" + std::to_string(getpid()));
  const auto error = [&](const std::string& text) {
    std::ofstream(file) << text;
    DoctorOptions options;
    options.build = file.string();
    const Outcome outcome = run(options);
    EXPECT_EQ(outcome.code, 2) << text;
    return outcome.error;
  };
  EXPECT_THAT(error("cpu = ["), HasSubstr("not TOML"));
  EXPECT_THAT(error("cpuu = \"x\""), HasSubstr("unknown key cpuu"));
  EXPECT_THAT(error("[[gpu]]\nname = \"RTX 9999\""), HasSubstr("RTX 9999"));
  EXPECT_THAT(error("[[gpu]]\nname = \"RTX 4090\"\ncount = 1000"), HasSubstr("number of GPUs"));
  EXPECT_THAT(error("[[gpu]]\ncount = 2"), HasSubstr("without a name"));
  EXPECT_THAT(error("[psu]\nwatts = \"many\""), HasSubstr("watts"));
  EXPECT_THAT(error("[psu]\nwatts = -5"), HasSubstr("watts"));
  EXPECT_THAT(error("gpu = 3"), HasSubstr("[[gpu]]"));
  fs::remove(file);
}

TEST(Report, TextDrawsTheTreeAndSaysWhatToDo) {
  DoctorOptions options;
  options.from = kRecordings + "2x-rtx3090-chipset";
  const Outcome outcome = run(options);
  EXPECT_THAT(outcome.text, HasSubstr("AMD Ryzen 9 5950X"));
  EXPECT_THAT(outcome.text, HasSubstr("chipset 0000:03:04.0"));
  EXPECT_THAT(outcome.text, HasSubstr("gen1 x4 now (idle), gen4 x16 at most"));
  EXPECT_THAT(outcome.text, HasSubstr("PHB -"));
  EXPECT_THAT(outcome.text, HasSubstr("What to do first"));
  EXPECT_THAT(outcome.text, Not(HasSubstr("\x1b")));
  options.colour = true;
  EXPECT_THAT(run(options).text, HasSubstr("\x1b[1;33m"));
}

TEST(Report, RedactLeavesOutWhoseMachineItIs) {
  DoctorOptions options;
  options.from = kRecordings + "2x-a6000-switch-acs";
  options.json = true;
  EXPECT_THAT(run(options).text, HasSubstr("GPU-00000000-1111"));
  options.redact = true;
  const std::string text = run(options).text;
  EXPECT_THAT(text, Not(HasSubstr("GPU-00000000-1111")));
  EXPECT_THAT(text, Not(HasSubstr("root=UUID")));
  EXPECT_THAT(text, Not(HasSubstr("q.xml")));
  EXPECT_THAT(text, HasSubstr("acs-redirect"));
  EXPECT_THAT(text, HasSubstr("kernel command line: intel_iommu=on (the rest left out)"));
}

TEST(Report, SvgIsAPageOfItsOwn) {
  const fs::path file = fs::temp_directory_path() / ("tandem_svg_" + std::to_string(getpid()));
  DoctorOptions options;
  options.from = kRecordings + "4x-rtx3090-bifurcated";
  options.svg = file.string();
  EXPECT_EQ(run(options).code, 0);
  std::ifstream stream(file);
  const std::string svg((std::istreambuf_iterator<char>(stream)), {});
  EXPECT_THAT(svg, ::testing::StartsWith("<svg"));
  EXPECT_THAT(svg, HasSubstr("cuda:3"));
  EXPECT_THAT(svg, HasSubstr("</svg>"));
  fs::remove(file);
}

TEST(Doctor, KeepsTheGpusAskedFor) {
  DoctorOptions options;
  options.from = kRecordings + "4x-rtx3090-bifurcated";
  options.json = true;
  options.gpus = {1, 3};
  const Json json = run(options).json();
  ASSERT_EQ(json["gpus"].size(), 2U);
  EXPECT_EQ(json["machine"]["devices"][1]["pci_address"], "0000:44:00.0");
  EXPECT_EQ(json["machine"]["links"].size(), 1U);
  options.gpus = {4};
  EXPECT_EQ(run(options).code, 2);
}

TEST(Doctor, ThisComputer) {
  DoctorOptions options;
  options.json = true;
  const Outcome outcome = run(options);
  ASSERT_EQ(outcome.error, "");
  const Json json = outcome.json();
  EXPECT_TRUE(json["machine"]["host"]["cores"].is_number());
  EXPECT_GE(json["machine"]["devices"].size(), 1U);
  for (const char* field : {"id", "kind", "name", "memory_bytes", "bandwidth_gbps", "pcie",
                            "numa_node", "power_limit_w"})
    EXPECT_TRUE(json["machine"]["devices"][0].contains(field)) << field;
}

TEST(Doctor, LoadNeedsTheMachineItself) {
  DoctorOptions options;
  options.load = true;
  options.from = kRecordings + "2x-a6000-healthy";
  EXPECT_EQ(run(options).code, 2);
}

}  // namespace
}  // namespace tandem
