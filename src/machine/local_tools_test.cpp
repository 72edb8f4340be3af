#include "machine/local_tools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

// Scripts in the place of nvidia-smi and dmidecode.

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class LocalToolsFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("tandem_tools_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void script(const std::string& name, const std::string& body) {
    std::ofstream(folder_ / name) << "#!/bin/sh\n" << body;
    fs::permissions(folder_ / name, fs::perms::owner_all);
  }
  Survey read(bool is_root = true, double seconds = 6) {
    Survey survey;
    LocalTools tools;
    tools.folders = {folder_};
    tools.is_root = is_root;
    tools.seconds = seconds;
    read_local_tools(tools, survey);
    return survey;
  }
  fs::path folder_;
};

const std::string kDmidecode =
    "cat <<'END'\n# dmidecode 3.4\nHandle 0x0009, DMI type 9, 24 bytes\n"
    "System Slot Information\n\tDesignation: PCIEX16_2\n\tType: x4 PCI Express 3 x16\n"
    "\tCurrent Usage: In Use\n\tBus Address: 0000:05:00.0\n\n"
    "Handle 0x0011, DMI type 17, 40 bytes\nMemory Device\n\tSize: 32 GB\n\tLocator: DIMM_A1\nEND\n";

TEST_F(LocalToolsFolder, DmidecodeTellsSlotsAndMemoryToRoot) {
  script("dmidecode", kDmidecode);
  const Survey survey = read();
  ASSERT_EQ(survey.host.slots.size(), 1U);
  EXPECT_EQ(survey.host.slots[0].name, "PCIEX16_2");
  EXPECT_EQ(survey.host.slots[0].width, 4);
  ASSERT_EQ(survey.host.memory.size(), 1U);
  ASSERT_EQ(survey.sources.size(), 1U);
  EXPECT_EQ(survey.sources[0].name, "dmidecode");
  EXPECT_EQ(survey.sources[0].note, "");
  EXPECT_TRUE(read(false).sources.empty()) << "run without being root";
}

TEST_F(LocalToolsFolder, NvidiaSmiTellsWhatNvmlWasNotAsked) {
  script("nvidia-smi", R"(case "$*" in
"-q -x") cat <<'END'
<?xml version="1.0" ?>
<nvidia_smi_log><driver_version>570.1</driver_version>
<gpu id="00000000:41:00.0"><product_name>NVIDIA RTX A6000</product_name>
<fabric><state>In Progress</state></fabric></gpu>
<gpu id="00000000:61:00.0"><product_name>NVIDIA RTX A6000</product_name></gpu></nvidia_smi_log>
END
;;
"topo -m") printf '\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\nGPU0\t X \tNV4\t0-7\t0\nGPU1\tNV4\t X \t0-7\t0\n';;
"nvlink -s") printf 'GPU 0: NVIDIA RTX A6000 (UUID: GPU-a)\n\t Link 0: 14.062 GB/s\nGPU 1: NVIDIA RTX A6000 (UUID: GPU-b)\n\t Link 0: 14.062 GB/s\n';;
esac
)");
  const Survey survey = read();
  ASSERT_EQ(survey.gpus.size(), 2U);
  EXPECT_EQ(survey.gpus[0].fabric_state, "In Progress");
  ASSERT_NE(survey.find_pair(0, 1), nullptr);
  EXPECT_EQ(survey.find_pair(0, 1)->topology, "NV4");
  ASSERT_TRUE(survey.gpus[1].nvlinks.has_value());
  EXPECT_NEAR(survey.gpus[1].nvlinks->front().gbps, 14.062, 1e-6);
  for (const SourceNote& source : survey.sources) EXPECT_EQ(source.note, "") << source.name;
}

TEST_F(LocalToolsFolder, WordsOfADriverThatDoesNotAnswerAreKept) {
  script("nvidia-smi",
         "echo 'Failed to initialize NVML: Driver/library version mismatch'\n"
         "echo 'NVML library version: 570.86'\nexit 18\n");
  const Survey survey = read();
  EXPECT_THAT(survey.host.driver_failure.value_or(""), HasSubstr("mismatch NVML library"));
}

TEST_F(LocalToolsFolder, AToolThatHangsIsNamedAndEnded) {
  script("dmidecode", "exec sleep 100\n");
  const auto start = std::chrono::steady_clock::now();
  const Survey survey = read(true, 0.3);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 10);
  ASSERT_EQ(survey.sources.size(), 1U);
  EXPECT_THAT(survey.sources[0].note, HasSubstr("did not answer in time"));
}

TEST_F(LocalToolsFolder, AToolThatPrintsRubbishIsNamed) {
  script("dmidecode", "echo rubbish\n");
  script("nvidia-smi", "echo '<nvidia_smi_log>'\n");
  const Survey survey = read();
  ASSERT_EQ(survey.sources.size(), 4U);
  EXPECT_THAT(survey.sources[0].note, HasSubstr("not well-formed"));
  EXPECT_THAT(survey.sources[3].note, HasSubstr("no table"));
  EXPECT_TRUE(survey.gpus.empty());
}

}  // namespace
}  // namespace tandem
