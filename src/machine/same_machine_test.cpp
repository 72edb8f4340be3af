#include "machine/same_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "machine/recording.h"

// Recordings of two machines in one folder are refused; several of one machine are not.

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class MixedFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("tandem_mixed_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string error() {
    const auto survey = read_recording_folder(folder_);
    return survey.ok() ? "no error" : survey.error().to_string();
  }
  fs::path folder_;
};

std::string lstopo(const std::string& host, const std::string& bus, const std::string& id) {
  return "<?xml version=\"1.0\"?><topology><object type=\"Machine\" os_index=\"0\">"
         "<info name=\"HostName\" value=\"" +
         host +
         "\"/><object type=\"Package\" os_index=\"0\"><info name=\"CPUModel\" value=\"AMD EPYC "
         "7443P 24-Core Processor\"/></object><object type=\"PCIDev\" pci_busid=\"" +
         bus + "\" pci_type=\"0300 [10de:" + id + "] [0000:0000] a1\"/></object></topology>";
}

std::string nccl(const std::string& hash, const std::string& bus, const std::string& id) {
  return "<system version=\"1\"><cpu host_hash=\"" + hash +
         "\" numaid=\"0\" affinity=\"0000000f\" arch=\"x86_64\"><pci busid=\"" + bus +
         "\" class=\"0x030200\" vendor=\"0x10de\" device=\"0x" + id +
         "\" link_speed=\"16.0 GT/s PCIe\" link_width=\"16\"/></cpu></system>";
}

std::string smi(const std::string& bus, const std::string& uuid) {
  return "<?xml version=\"1.0\"?><nvidia_smi_log><gpu id=\"00000000:" + bus +
         "\"><product_name>NVIDIA RTX A6000</product_name><uuid>" + uuid +
         "</uuid></gpu></nvidia_smi_log>";
}

TEST_F(MixedFolder, TwoHostNamesInLstopo) {
  write("a.xml", lstopo("left", "0000:41:00.0", "2230"));
  write("b.xml", lstopo("right", "0000:41:00.0", "2230"));
  EXPECT_THAT(error(), HasSubstr("b.xml: this is another machine than a.xml"));
  EXPECT_THAT(error(), HasSubstr("host left"));
  EXPECT_THAT(error(), HasSubstr("host right"));
}

TEST_F(MixedFolder, OtherCardsAtOtherPlacesInLstopo) {
  write("a.xml", lstopo("one", "0000:41:00.0", "2230"));
  write("b.xml", lstopo("one", "0000:61:00.0", "2230"));
  EXPECT_THAT(error(), HasSubstr("another machine"));
  EXPECT_THAT(error(), HasSubstr("GPUs at 0000:41:00.0"));
}

TEST_F(MixedFolder, TwoHostsInNccl) {
  write("a.xml", nccl("0x1111", "0000:41:00.0", "2230"));
  write("b.xml", nccl("0x2222", "0000:41:00.0", "2230"));
  EXPECT_THAT(error(), HasSubstr("another machine"));
}

TEST_F(MixedFolder, OtherCardsInNccl) {
  write("a.xml", nccl("", "0000:41:00.0", "2230"));
  write("b.xml", nccl("", "0000:41:00.0", "2684"));
  EXPECT_THAT(error(), HasSubstr("another machine"));
  write("b.xml", nccl("", "0000:61:00.0", "2230"));
  EXPECT_THAT(error(), HasSubstr("GPUs at 0000:61:00.0"));
}

TEST_F(MixedFolder, NcclAndLstopoOfTwoMachines) {
  write("a.xml", lstopo("one", "0000:41:00.0", "2230"));
  write("b.xml", nccl("0x1", "0000:61:00.0", "2230"));
  EXPECT_THAT(error(), HasSubstr("another machine"));
}

TEST_F(MixedFolder, EqualServersWithOtherCardsInThem) {
  write("a.xml", smi("41:00.0", "GPU-aaaa"));
  write("b.xml", smi("41:00.0", "GPU-bbbb"));
  EXPECT_THAT(error(), HasSubstr("another machine"));
  EXPECT_THAT(error(), HasSubstr("GPU-aaaa"));
}

TEST_F(MixedFolder, OtherProcessors) {
  write("a.xml", lstopo("one", "0000:41:00.0", "2230"));
  write("lscpu.txt", "Architecture: x86_64\nModel name: AMD EPYC 7443P 24-Core Processor\n");
  EXPECT_EQ(error(), "no error");
  write("lscpu.txt", "Architecture: x86_64\nModel name: AMD Ryzen 9 5950X 16-Core Processor\n");
  EXPECT_THAT(error(), HasSubstr("5950X"));
  EXPECT_THAT(error(), HasSubstr("another machine"));
}

TEST_F(MixedFolder, TwoLspciListsOfOneDesktopSlot) {
  write("a.txt",
        "01:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090]\n");
  write("b.txt",
        "01:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3090]\n");
  EXPECT_THAT(error(), HasSubstr("another machine"));
}

TEST_F(MixedFolder, ManyFilesOfOneMachineAreWelcome) {
  write("a.xml", lstopo("one", "0000:41:00.0", "2230"));
  write("again.xml", lstopo("one", "0000:41:00.0", "2230"));
  write("nccl.xml", nccl("0x1111", "0000:41:00.0", "2230"));
  write("smi.xml", smi("41:00.0", "GPU-aaaa"));
  write("lspci.txt",
        "0000:41:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102GL [RTX A6000] "
        "[10de:2230] (rev a1)\n");
  write("short.txt", "41:00.0 VGA compatible controller: NVIDIA Corporation GA102GL [RTX A6000]\n");
  write("lscpu.txt", "Architecture: x86_64\nModel name: AMD EPYC 7443P 24-Core Processor\n");
  EXPECT_EQ(error(), "no error");
}

// A list that was cut to some cards is no other machine.
TEST_F(MixedFolder, APartOfTheCardsIsNoContradiction) {
  write("smi.xml",
        "<?xml version=\"1.0\"?><nvidia_smi_log><gpu id=\"00000000:41:00.0\"/>"
        "<gpu id=\"00000000:61:00.0\"/></nvidia_smi_log>");
  write("lspci.txt", "41:00.0 VGA compatible controller: NVIDIA Corporation GA102GL [RTX A6000]\n");
  EXPECT_EQ(error(), "no error");
  write("lspci.txt",
        "41:00.0 VGA compatible controller: NVIDIA Corporation GA102GL [RTX A6000]\n"
        "81:00.0 VGA compatible controller: NVIDIA Corporation GA102GL [RTX A6000]\n");
  EXPECT_THAT(error(), HasSubstr("another machine"));
}

TEST_F(MixedFolder, TablesThatCountOtherCardsThanTheBusAreAFinding) {
  write("topo.txt",
        "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\nGPU0\t X \tPHB\t0-7\t0\nGPU1\tPHB\t X "
        "\t0-7\t0\n");
  write("lspci.txt", "41:00.0 VGA compatible controller: NVIDIA Corporation GA102GL [RTX A6000]\n");
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok()) << survey.error().to_string();
  ASSERT_EQ(survey->conflicts.size(), 1U);
  EXPECT_EQ(survey->conflicts[0].fact, "number of NVIDIA GPUs");
}

TEST_F(MixedFolder, TwoReportsOfOneMachineTellWhatGrewInBetween) {
  const auto report = [](const char* time, const char* replays) {
    return std::string("<?xml version=\"1.0\"?><nvidia_smi_log><timestamp>") + time +
           "</timestamp><gpu id=\"00000000:41:00.0\"><product_name>NVIDIA RTX A6000</product_name>"
           "<uuid>GPU-aaaa</uuid><pci><replay_counter>" +
           replays + "</replay_counter></pci></gpu></nvidia_smi_log>";
  };
  write("later.xml", report("Tue Mar  4 10:00:10 2025", "25"));
  write("now.xml", report("Tue Mar  4 10:00:00 2025", "5"));
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok()) << survey.error().to_string();
  ASSERT_EQ(survey->rates.size(), 1U);
  EXPECT_EQ(survey->rates[0].before, 5);
  EXPECT_EQ(survey->rates[0].after, 25);
  EXPECT_EQ(survey->rates[0].seconds, 10);
}

TEST_F(MixedFolder, TwoTreesOfOneMachineTellWhatGrewInBetween) {
  for (const char* tree : {"first", "second"}) {
    const std::string device = std::string(tree) + "/bus/pci/devices/0000:41:00.0/";
    write(device + "vendor", "0x10de\n");
    write(device + "device", "0x2230\n");
    write(device + "class", "0x030000\n");
    write(device + "aer_dev_correctable",
          std::string("RxErr 1\nTOTAL_ERR_COR ") + (tree[0] == 'f' ? "4" : "9") + "\n");
    write(device + "aer_dev_fatal", "TOTAL_ERR_FATAL 0\n");
  }
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok()) << survey.error().to_string();
  const auto grown = std::find_if(survey->rates.begin(), survey->rates.end(),
                                  [](const CounterRate& rate) { return rate.after > rate.before; });
  ASSERT_NE(grown, survey->rates.end());
  EXPECT_EQ(grown->counter, "correctable");
  EXPECT_EQ(grown->before, 4);
  EXPECT_EQ(grown->after, 9);
}

}  // namespace
}  // namespace tandem
