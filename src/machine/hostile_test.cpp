#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "machine/recording.h"

// Folders that nobody vouches for: each is answered with a message, within seconds, without a
// crash.

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class HostileFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("tandem_hostile_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    start_ = std::chrono::steady_clock::now();
  }
  void TearDown() override {
    fs::remove_all(folder_);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start_;
    EXPECT_LT(seconds.count(), 10);
  }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string error() {
    const auto survey = read_recording_folder(folder_);
    return survey.ok() ? "no error" : survey.error().to_string();
  }
  void add_known() { write("meminfo", "MemTotal: 1024 kB\nMemFree: 1 kB\n"); }

  fs::path folder_;
  std::chrono::steady_clock::time_point start_;
};

TEST_F(HostileFolder, NothingThere) {
  EXPECT_THAT(error(), HasSubstr("empty folder"));
  fs::remove_all(folder_);
  EXPECT_THAT(error(), HasSubstr("no such folder"));
}

TEST_F(HostileFolder, NothingKnown) {
  write("a.txt", "hello");
  write("b.bin", std::string("\0\1\2\xFF", 4));
  EXPECT_THAT(error(), HasSubstr("a.txt: not known"));
}

TEST_F(HostileFolder, AnArchiveIsNotUnpacked) {
  write("sys.tar.gz", std::string("\x1F\x8B\x08\x00rest", 8));
  EXPECT_THAT(error(), HasSubstr("sys.tar.gz: an archive"));
}

TEST_F(HostileFolder, TruncatedXmlIsNamedAndLeftOut) {
  write("smi.xml",
        "<?xml version=\"1.0\" ?><nvidia_smi_log><gpu id=\"00000000:01:00.0\"><product_name>X");
  EXPECT_THAT(error(), HasSubstr("smi.xml at byte"));
  add_known();
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok());
  EXPECT_THAT(survey->sources.front().note, HasSubstr("not well-formed"));
}

TEST_F(HostileFolder, EntityBombIsRefusedByName) {
  std::string bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\">";
  for (char c = 'b'; c <= 'z'; ++c) {
    bomb += std::string("<!ENTITY ") + c + " \"";
    for (int i = 0; i < 10; ++i) bomb += std::string("&") + static_cast<char>(c - 1) + ";";
    bomb += "\">";
  }
  bomb +=
      "]><nvidia_smi_log><driver_version>&z;</driver_version><gpu "
      "id=\"00000000:01:00.0\"><product_name>&z;</product_name></gpu></nvidia_smi_log>";
  write("bomb.xml", bomb);
  EXPECT_THAT(error(), HasSubstr("bomb.xml at byte 34: declares XML entities"));
  add_known();
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok()) << survey.error().to_string();
  EXPECT_TRUE(survey->gpus.empty());
}

TEST_F(HostileFolder, EntitiesOfOtherFilesAreNotRead) {
  write("x.xml",
        "<?xml version=\"1.0\"?><!DOCTYPE t [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><topology>"
        "<object type=\"Machine\"><info name=\"HostName\" value=\"&x;\"/></object></topology>");
  EXPECT_THAT(error(), HasSubstr("declares XML entities"));
}

TEST_F(HostileFolder, DeepNesting) {
  std::string deep = "<topology>";
  for (int i = 0; i < 200000; ++i) deep += "<object type=\"Group\">";
  write("deep.xml", deep);
  EXPECT_THAT(error(), HasSubstr("deep.xml"));
  for (int i = 0; i < 200000; ++i) deep += "</object>";
  write("deep.xml", deep + "</topology>");
  EXPECT_THAT(error(), HasSubstr("nest too deeply"));
  std::string flat = "<topology>";
  for (int i = 0; i < 2'000'000; ++i) flat += "<a/>";
  write("deep.xml", flat + "</topology>");
  EXPECT_THAT(error(), HasSubstr("too many XML elements"));
}

TEST_F(HostileFolder, LspciCutInTheMiddle) {
  write("lspci.txt",
        "01:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev "
        "a1)\n\tCapabilities: [78] Express (v2) Legacy Endpoint, MSI 00\n\t\tLnkCap:\tPort #0, "
        "Speed 16GT/s, Wid");
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok());
  ASSERT_EQ(survey->gpus.size(), 1U);
  EXPECT_EQ(survey->gpus[0].link.max_width, std::nullopt);
  EXPECT_EQ(survey->gpus[0].has_driver, std::nullopt);  // the line may have been cut off
}

TEST_F(HostileFolder, WhatSeemsCutOffIsSaid) {
  const std::string whole =
      "01:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)\n"
      "\tControl: I/O+ Mem+\n\tLnkSta: Speed 16GT/s, Width x16\n"
      "\tKernel driver in use: nvidia";
  const auto notes = [&](const std::string& name, const std::string& text) {
    write(name, text);
    const auto survey = read_recording_folder(folder_);
    fs::remove(folder_ / name);
    return survey.ok() ? survey->cut_sources : std::vector<std::string>{"no survey"};
  };
  EXPECT_THAT(notes("lspci.txt", whole + "\n"), ::testing::IsEmpty());
  EXPECT_THAT(notes("lspci.txt", whole), ::testing::IsEmpty());  // copied without its last end
  EXPECT_THAT(
      notes("lspci.txt", whole.substr(0, whole.find(", Width"))),
      ::testing::ElementsAre("lspci.txt: it ends within 0000:01:00.0, \"LnkSta: Speed 16GT/s\""));
  const std::string report =
      "==============NVSMI LOG==============\n\nDriver Version : 570.1\nAttached GPUs : 2\n"
      "GPU 00000000:01:00.0\n    Product Name : NVIDIA GeForce RTX 3090\n";
  EXPECT_THAT(notes("q.txt", report),
              ::testing::ElementsAre("q.txt: it counts 2 GPUs and describes 1"));
  EXPECT_THAT(notes("q.txt", report + "GPU 00000000:02:00.0\n    Product Name : NVIDIA X\n"),
              ::testing::IsEmpty());
}

TEST_F(HostileFolder, ANameOfManyMegabytesIsClipped) {
  write("lspci.txt", "01:00.0 VGA compatible controller: NVIDIA " + std::string(30 << 20, 'x'));
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok()) << survey.error().to_string();
  EXPECT_LE(survey->gpus.at(0).name->size(), 200U);
}

TEST_F(HostileFolder, HugeFileIsNotRead) {
  add_known();
  write("huge.txt", "NVRM: Xid");
  fs::resize_file(folder_ / "huge.txt", 100u << 20);
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok());
  EXPECT_THAT(survey->sources.back().note, HasSubstr("larger than 64 MiB"));
}

// Time that has run out leaves files out, by name, and never mixes what was not compared.
TEST_F(HostileFolder, WithoutTimeFilesAreLeftOutByName) {
  add_known();
  write("a.txt",
        "01:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090]\n");
  write("b.txt", "Architecture: x86_64\nModel name: X\n");
  RecordingLimits limits;
  limits.seconds = 0;
  const auto survey = read_recording_folder(folder_, limits);
  EXPECT_FALSE(survey.ok());
  EXPECT_THAT(survey.error().to_string(), HasSubstr("took too long"));
}

TEST_F(HostileFolder, LongLinesOfEveryKind) {
  const std::string junk(4 << 20, 'A');
  write("a.txt",
        "01:00.0 VGA compatible controller: NVIDIA " + junk + "\n\tLnkSta: Speed " + junk + "\n");
  write("b.txt", "-[0000:00]-+-00.0  " + junk + "\n" + std::string(1 << 20, '[') + "\n");
  write("c.txt", "\tGPU0\tCPU Affinity\nGPU0\t X \t" + std::string(1 << 20, '9') + "\n");
  write("d.txt", "[1] NVRM: Xid (PCI:" + junk + "): 79\n");
  write("e.txt", "==============NVSMI LOG==============\nGPU 00000000:01:00.0\n" +
                     std::string(1 << 20, ' ') + "x : y\n");
  const auto survey = read_recording_folder(folder_);
  EXPECT_TRUE(survey.ok()) << survey.error().to_string();
}

TEST_F(HostileFolder, ManyLinesOfOneKind) {
  std::string bridges;
  for (int bus = 0; bus < 256; ++bus)
    for (int device = 0; device < 32; ++device)
      bridges += PciAddress{0, static_cast<std::uint8_t>(bus), static_cast<std::uint8_t>(device), 0}
                     .to_string() +
                 " PCI bridge: X\n\tBus: primary=00, secondary=01, subordinate=ff\n";
  write("lspci.txt", bridges + "01:00.0 VGA compatible controller: NVIDIA X\n");
  EXPECT_THAT(error(), ::testing::AnyOf(HasSubstr("too many"), HasSubstr("no error")));
}

TEST_F(HostileFolder, BridgesInACircle) {
  write(
      "lspci.txt",
      "01:00.0 PCI bridge: X\n\tBus: primary=01, secondary=02, subordinate=02\n"
      "02:00.0 PCI bridge: X\n\tBus: primary=02, secondary=01, subordinate=01\n"
      "01:01.0 VGA compatible controller: NVIDIA X\n02:01.0 VGA compatible controller: NVIDIA X\n");
  EXPECT_EQ(error(), "no error");
}

TEST_F(HostileFolder, LinksLoopsPipesAndDeepFolders) {
  add_known();
  fs::create_directory_symlink(folder_, folder_ / "loop");
  fs::create_symlink("/dev/zero", folder_ / "zero");
  fs::create_symlink("self", folder_ / "self");
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  fs::path deep = folder_;
  for (int i = 0; i < 60; ++i) deep /= "d";
  fs::create_directories(deep);
  EXPECT_EQ(error(), "no error");
}

TEST_F(HostileFolder, SysTreeWithLinksOutside) {
  const std::string device = "sys/bus/pci/devices/";
  write("sys/devices/pci0000:00/0000:01:00.0/vendor", "0x10de\n");
  write("sys/devices/pci0000:00/0000:01:00.0/class", "0x030000\n");
  fs::create_directories(folder_ / device);
  fs::create_directory_symlink("../../../devices/pci0000:00/0000:01:00.0",
                               folder_ / (device + "0000:01:00.0"));
  fs::create_directory_symlink("/", folder_ / (device + "0000:02:00.0"));
  fs::create_symlink("0000:03:00.0", folder_ / (device + "0000:03:00.0"));
  ASSERT_EQ(mkfifo((folder_ / "sys/devices/pci0000:00/0000:01:00.0/numa_node").c_str(), 0600), 0);
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok()) << survey.error().to_string();
  EXPECT_EQ(survey->pci.size(), 1U);
  EXPECT_EQ(survey->gpus.size(), 1U);
}

TEST_F(HostileFolder, NotUtf8AndUtf16) {
  std::string wide = "\xFF\xFE";
  for (char c : std::string("MemTotal: 2048 kB\nMemFree: 1 kB\n")) {
    wide += c;
    wide += '\0';
  }
  write("meminfo.txt", wide);
  write("cpu\xFFinfo", "processor : 0\nmodel name : X\xFFY\n");
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok());
  EXPECT_EQ(survey->host.host.memory_bytes, 2048 * 1024);
  EXPECT_EQ(survey->host.host.cpu, "X?Y");
}

TEST_F(HostileFolder, ThousandsOfFilesStopAtTheLimit) {
  add_known();
  for (int i = 0; i < 300; ++i) write("f" + std::to_string(i), "x");
  RecordingLimits limits;
  limits.files = 100;
  const auto survey = read_recording_folder(folder_, limits);
  EXPECT_FALSE(survey.ok() && survey->sources.empty());
}

}  // namespace
}  // namespace tandem
