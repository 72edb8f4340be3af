#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "machine/finding.h"
#include "machine/recording.h"

// What doctor makes of real recordings of many machines. They are data of others and are read
// where they lie; without them these tests are skipped.

namespace tandem {
namespace {

namespace fs = std::filesystem;

const fs::path kFixtures = fs::path(TANDEM_SHARED_DIR) / "fixtures";

#define SKIP_WITHOUT_FIXTURES() \
  if (!fs::exists(kFixtures)) GTEST_SKIP() << "no recordings at " << kFixtures

struct Expected {
  std::string file;
  int gpus;              // -1: the file is empty
  int links;             // pairs of GPUs
  std::string findings;  // "id:severity*count", without "healthy"
};

// Reviewed by hand against each file. No healthy server has more than one warning.
const std::vector<Expected> kExpected{
    {"bench-logs/superbench__nccl_allreduce.log", 8, 28, ""},
    {"bench-logs/superbench__nvbandwidth_results.log", 1, 0, ""},
    {"logs/gpud__dmesg-xid-119.log", 0, 0, "xid:e no-gpu:i"},
    {"logs/gpud__fabricmanager.log", 0, 0, "log-fault:w no-gpu:i"},
    {"lspci/gpud__8xA100-lspci-nn.txt", 8, 28, ""},
    {"lspci/gpud__8xH100-sxm-dell-lspci-vvv.txt", 8, 28, "numa-split:i"},
    {"lspci/gpud__A10-lspci-nn.txt", 1, 0, ""},
    {"lspci/stelline__2xRTX6000Ada-puget-trx-wrx90__ACSCtl.txt", 0, 0, "no-gpu:i"},
    {"lspci/stelline__2xRTX6000Ada-puget-trx-wrx90__lspci-tv.txt", 2, 1, ""},
    {"lspci/stelline__2xRTX6000Ada-puget-trx-wrx90__lspci-vvv-gpus-nics.txt", 2, 1, ""},
    {"lstopo-xml/hwloc__24em64t-2n6c2t-pci.xml", 3, 3, "numa-split:i"},
    {"lstopo-xml/hwloc__32em64t-2n8c2t-pci-wholeio.xml", 3, 3, "numa-split:i"},
    {"lstopo-xml/hwloc__nvidia-dgx-gb10.xml", 0, 0, "no-gpu:i"},
    {"lstopo-xml/hwloc__nvidiaDGX2.xml", 16, 120, "shared-uplink:i numa-split:i"},
    {"lstopo-xml/mpibind__coral-lassen.xml", 4, 6, "shared-uplink:i numa-split:i"},
    {"lstopo-xml/mpibind__g4dnmetal.xml", 8, 28, "numa-split:i"},
    {"nccl-topo-xml/aws-ofi-nccl__p4d-24xl-topo.xml", 8, 28, "shared-uplink:i numa-split:i"},
    {"nccl-topo-xml/azhpc__ndv4-topo.xml", 8, 28, "shared-uplink:i numa-split:i"},
    {"nccl-topo-xml/rccl__topo_8p_rome_pcie.xml", 8, 28, "numa-split:i"},
    {"numa/stelline__2xRTX6000Ada-puget-trx-wrx90__lscpu-e.txt", 0, 0, "no-gpu:i"},
    {"numa/stelline__2xRTX6000Ada-puget-trx-wrx90__lscpu.txt", 0, 0, "no-gpu:i"},
    {"numa/stelline__2xRTX6000Ada-puget-trx-wrx90__numactl-H.txt", 0, 0, "no-gpu:i"},
    {"nvidia-smi-capture/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-geforce-rtx-2080-super__595.71.05.txt",
     1, 0, "display-attached:i persistence-off:i"},
    {"nvidia-smi-capture/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-geforce-rtx-2080-super__610.57.04.txt",
     1, 0, "persistence-off:i"},
    {"nvidia-smi-capture/nvidia_gpu_exporter__linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01.txt",
     1, 0, "virtual-machine:i"},
    {"nvidia-smi-capture/nvidia_gpu_exporter__linux-x86_64__nvidia-h100-mig__590.48.01.txt", 1, 0,
     "mig-enabled:i virtual-machine:i"},
    {"nvidia-smi-capture/nvidia_gpu_exporter__linux-x86_64__nvidia-h200-mig__590.48.01.txt", 1, 0,
     "mig-enabled:i virtual-machine:i"},
    {"nvidia-smi-capture/nvidia_gpu_exporter__linux-x86_64__nvidia-l40s__595.80.txt", 1, 0,
     "persistence-off:i virtual-machine:i"},
    {"nvidia-smi-capture/nvidia_gpu_exporter__query-fields.txt", 0, 0, "no-gpu:i"},
    {"nvidia-smi-capture/stelline__2xRTX6000Ada-puget-trx-wrx90__nvidia-smi.txt", 2, 1,
     "persistence-off:i"},
    {"nvidia-smi-topo/XueSongTap__2x1080Ti-PHB__topo-m.txt", 2, 1, ""},
    {"nvidia-smi-topo/XueSongTap__8xA100-17NIC__topo-m.txt", 8, 28, ""},
    {"nvidia-smi-topo/nccl-docs__8gpu-OK__topo-p2p.txt", 8, 28, ""},
    {"nvidia-smi-topo/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-geforce-rtx-2080-super__595.71.05__topo-m.txt",
     1, 0, ""},
    {"nvidia-smi-topo/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-geforce-rtx-2080-super__610.57.04__topo-m.txt",
     1, 0, ""},
    {"nvidia-smi-topo/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01__topo-m.txt",
     1, 0, ""},
    {"nvidia-smi-topo/nvidia_gpu_exporter__linux-x86_64__nvidia-h200-mig__590.48.01__topo-m.txt", 1,
     0, ""},
    {"nvidia-smi-topo/nvidia_gpu_exporter__linux-x86_64__nvidia-h200__590.48.01__topo-m.txt", 1, 0,
     ""},
    {"nvidia-smi-topo/nvidia_gpu_exporter__linux-x86_64__nvidia-l40s__595.80__topo-m.txt", 1, 0,
     ""},
    {"nvidia-smi-topo/stelline__2xRTX6000Ada-puget-trx-wrx90__topo-m.txt", 2, 1, ""},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-a100.xml", 1, 0, "virtual-machine:i"},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-b200.xml", 8, 28, "persistence-off:i virtual-machine:i"},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-gb200.xml", 4, 6, "virtual-machine:i"},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-h100.xml", 8, 28, "virtual-machine:i"},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-t4.xml", 1, 0, "pcie-width:i virtual-machine:i"},
    {"nvidia-smi-xml/k8s-test-infra-mock__qx-a100-healthy.xml", 2, 1, ""},
    {"nvidia-smi-xml/k8s-test-infra-mock__qx-gb200-ecc-injected.xml", 2, 1,
     "memory-repair-failed:e ecc-errors:e"},
    {"nvidia-smi-xml/k8s-test-infra-mock__qx-gb200-fabric-degraded.xml", 2, 1, "nvlink-fabric:e"},
    {"nvidia-smi-xml/k8s-test-infra-mock__qx-gb200-healthy.xml", 2, 1, ""},
    {"nvidia-smi-xml/k8s-test-infra-mock__qx-gb200-throttle-counters.xml", 2, 1, ""},
    {"nvidia-smi-xml/telegraf-58ff61d__3090-v13.xml", 1, 0, "rebar-off:i display-attached:i"},
    {"nvidia-smi-xml/telegraf-58ff61d__dual_2070-v13.xml", 2, 1, "pcie-width:i*2 peer-access:i"},
    {"nvidia-smi-xml/telegraf-58ff61d__dual_2080-v13.xml", 2, 1, "pcie-width:i*2"},
    {"nvidia-smi-xml/telegraf__a100-sxm4-v12.xml", 1, 0, "mig-enabled:i persistence-off:i"},
    {"nvidia-smi-xml/telegraf__a10g.xml", 1, 0,
     "pcie-width:i persistence-off:i virtual-machine:i driver-old:i"},
    {"nvidia-smi-xml/telegraf__gtx-1070-ti.xml", 1, 0, ""},
    {"nvidia-smi-xml/telegraf__gtx-1660-ti.xml", 1, 0, "persistence-off:i driver-old:i"},
    {"nvidia-smi-xml/telegraf__quadro-p2000-v12.xml", 1, 0, "pcie-width:i"},
    {"nvidia-smi-xml/telegraf__rtx-3060-v12.xml", 1, 0, "rebar-off:i"},
    {"nvidia-smi-xml/telegraf__rtx-3080-v12.xml", 1, 0,
     "memory-in-use:w display-attached:i virtual-machine:i"},
    {"nvidia-smi-xml/telegraf__rtx-4000-sff-ada-v13.xml", 1, 0,
     "memory-in-use:w display-attached:i"},
    {"nvidia-smi-xml/telegraf__tesla-t4.xml", 1, 0,
     "pcie-width:i persistence-off:i memory-in-use:i virtual-machine:i driver-old:i"},
    {"nvlink-status/gpud__8xA100-nvlink-status.txt", 8, 28, ""},
    {"nvlink-status/gpud__A10-nvlink-status.txt", -1, 0, ""},
    {"nvlink-status/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-geforce-rtx-2080-super__595.71.05__nvlink-s.txt",
     1, 0, ""},
    {"nvlink-status/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-geforce-rtx-2080-super__610.57.04__nvlink-s.txt",
     1, 0, ""},
    {"nvlink-status/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-geforce-rtx-4080-super__595.71.05__nvlink-s.txt",
     1, 0, ""},
    {"nvlink-status/"
     "nvidia_gpu_exporter__linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01__nvlink-s.txt",
     1, 0, ""},
    {"nvlink-status/nvidia_gpu_exporter__linux-x86_64__nvidia-h200-mig__590.48.01__nvlink-s.txt", 1,
     0, ""},
    {"nvlink-status/nvidia_gpu_exporter__linux-x86_64__nvidia-h200__590.48.01__nvlink-s.txt", 1, 0,
     ""},
    {"p2p-bandwidth/nvbandwidth-readme__8gpu-d2d-write-ce.txt", 8, 28, ""},
    {"p2p-bandwidth/stelline__2xRTX6000Ada-puget-trx-wrx90__bandwidthTest.txt", 0, 0, "no-gpu:i"},
    {"p2p-bandwidth/stelline__2xRTX6000Ada-puget-trx-wrx90__p2pBandwidthLatencyTest.txt", 2, 1, ""},
};

std::string summary(const std::vector<Finding>& findings) {
  std::vector<std::string> order;
  std::map<std::string, int> counts;
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::kOk) continue;
    const std::string key = finding.id + ":" + std::string(name_of(finding.severity)).substr(0, 1);
    if (counts[key]++ == 0) order.push_back(key);
  }
  std::string text;
  for (const std::string& key : order)
    text += (text.empty() ? "" : " ") + key +
            (counts[key] > 1 ? "*" + std::to_string(counts[key]) : "");
  return text;
}

int gpu_links(const Survey& survey) {
  int count = 0;
  for (const Link& link : survey.machine.links)
    count += link.kind == LinkKind::kSharedMemory ? 0 : 1;
  return count;
}

TEST(Fixtures, EveryRecordingParsesAndIsJudgedRightly) {
  SKIP_WITHOUT_FIXTURES();
  for (const Expected& expected : kExpected) {
    const auto survey = read_recording_folder(kFixtures / expected.file);
    if (expected.gpus < 0) {
      EXPECT_EQ(fs::file_size(kFixtures / expected.file), 0U) << expected.file;
      EXPECT_FALSE(survey.ok()) << expected.file;
      continue;
    }
    ASSERT_TRUE(survey.ok()) << expected.file << ": " << survey.error().to_string();
    EXPECT_EQ(static_cast<int>(survey->gpus.size()), expected.gpus) << expected.file;
    EXPECT_EQ(gpu_links(*survey), expected.links) << expected.file;
    EXPECT_EQ(summary(judge(*survey)), expected.findings) << expected.file;
    for (const SourceNote& source : survey->sources) EXPECT_EQ(source.note, "") << source.name;
  }
}

// Servers that nothing is known to be wrong with, and the one warning each may have with the reason
// why it is right. None has any now; a rule that begins to warn about one of them has to be
// justified here.
struct HealthyServer {
  const char* file;
  const char* warning;  // an id; empty: none
  const char* because;
};

const std::vector<HealthyServer> kHealthyServers{
    {"lspci/gpud__8xA100-lspci-nn.txt", "", ""},
    {"lspci/gpud__8xH100-sxm-dell-lspci-vvv.txt", "", ""},
    {"lspci/gpud__A10-lspci-nn.txt", "", ""},
    {"lspci/stelline__2xRTX6000Ada-puget-trx-wrx90__lspci-vvv-gpus-nics.txt", "", ""},
    {"lstopo-xml/hwloc__nvidiaDGX2.xml", "", ""},
    {"lstopo-xml/mpibind__coral-lassen.xml", "", ""},
    {"lstopo-xml/mpibind__g4dnmetal.xml", "", ""},
    {"nccl-topo-xml/aws-ofi-nccl__p4d-24xl-topo.xml", "", ""},
    {"nccl-topo-xml/azhpc__ndv4-topo.xml", "", ""},
    {"nccl-topo-xml/rccl__topo_8p_rome_pcie.xml", "", ""},
    {"nvidia-smi-topo/XueSongTap__8xA100-17NIC__topo-m.txt", "", ""},
    {"nvidia-smi-topo/nccl-docs__8gpu-OK__topo-p2p.txt", "", ""},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-a100.xml", "", ""},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-b200.xml", "", ""},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-gb200.xml", "", ""},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-h100.xml", "", ""},
    {"nvidia-smi-xml/k8s-test-infra-hw__qx-t4.xml", "", ""},
    {"nvidia-smi-xml/k8s-test-infra-mock__qx-a100-healthy.xml", "", ""},
    {"nvidia-smi-xml/k8s-test-infra-mock__qx-gb200-healthy.xml", "", ""},
    {"nvidia-smi-xml/telegraf__a100-sxm4-v12.xml", "", ""},
    {"nvidia-smi-xml/telegraf__a10g.xml", "", ""},
    {"nvlink-status/gpud__8xA100-nvlink-status.txt", "", ""},
    {"p2p-bandwidth/nvbandwidth-readme__8gpu-d2d-write-ce.txt", "", ""},
    {"bench-logs/superbench__nccl_allreduce.log", "", ""},
};

TEST(Fixtures, HealthyServersHaveNoWarningThatIsNotJustified) {
  SKIP_WITHOUT_FIXTURES();
  for (const HealthyServer& server : kHealthyServers) {
    const auto survey = read_recording_folder(kFixtures / server.file);
    ASSERT_TRUE(survey.ok()) << server.file << ": " << survey.error().to_string();
    std::vector<std::string> warnings;
    for (const Finding& finding : judge(*survey)) {
      EXPECT_NE(finding.severity, Severity::kError) << server.file << ": " << finding.title;
      if (finding.severity == Severity::kWarning) warnings.push_back(finding.id);
    }
    const std::vector<std::string> allowed(*server.warning == '\0' ? 0 : 1, server.warning);
    EXPECT_EQ(warnings, allowed) << server.file << " " << server.because;
  }
}

// Any two recordings of cards that are of different machines, put into one folder, are refused.
TEST(Fixtures, EveryPairOfMachinesInAFolderIsRefused) {
  SKIP_WITHOUT_FIXTURES();
  const std::vector<std::string> of_different_machines{
      "lstopo-xml/hwloc__24em64t-2n6c2t-pci.xml",
      "lstopo-xml/hwloc__32em64t-2n8c2t-pci-wholeio.xml",
      "lstopo-xml/hwloc__nvidiaDGX2.xml",
      "lstopo-xml/mpibind__coral-lassen.xml",
      "lstopo-xml/mpibind__g4dnmetal.xml",
      "nccl-topo-xml/aws-ofi-nccl__p4d-24xl-topo.xml",
      "nccl-topo-xml/azhpc__ndv4-topo.xml",
      "lspci/gpud__8xH100-sxm-dell-lspci-vvv.txt",
      "lspci/stelline__2xRTX6000Ada-puget-trx-wrx90__lspci-vvv-gpus-nics.txt",
      "nvidia-smi-xml/k8s-test-infra-hw__qx-h100.xml",
      "nvidia-smi-xml/telegraf-58ff61d__dual_2080-v13.xml",
  };
  const fs::path folder = fs::temp_directory_path() / ("tandem_pairs_" + std::to_string(getpid()));
  for (std::size_t a = 0; a < of_different_machines.size(); ++a)
    for (std::size_t b = a + 1; b < of_different_machines.size(); ++b) {
      fs::remove_all(folder);
      fs::create_directories(folder);
      fs::copy_file(kFixtures / of_different_machines[a], folder / "a");
      fs::copy_file(kFixtures / of_different_machines[b], folder / "b");
      const auto survey = read_recording_folder(folder);
      const std::string both = of_different_machines[a] + " with " + of_different_machines[b];
      const std::string error = survey.ok() ? "" : survey.error().to_string();
      EXPECT_THAT(error, ::testing::HasSubstr("another machine")) << both;
    }
  fs::remove_all(folder);
}

TEST(Fixtures, TheListIsComplete) {
  SKIP_WITHOUT_FIXTURES();
  std::set<std::string> listed;
  for (const Expected& expected : kExpected) listed.insert(expected.file);
  for (const auto& entry : fs::recursive_directory_iterator(kFixtures)) {
    const std::string file = entry.path().lexically_relative(kFixtures).string();
    const bool archive = file.find("sysfs-tree/") == 0;  // each has a test of its own
    EXPECT_TRUE(archive || !entry.is_regular_file() || listed.count(file) == 1) << file;
  }
}

// A recorded /sys tree, unpacked by tar.
class SysfsTree : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FIXTURES();
    folder_ = (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
              ("tandem_sysfs_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  Survey unpack(const std::string& archive) {
    // What doctor does not read would only cost time: thousands of memory blocks and CPUs.
    const std::string command =
        "tar -xf '" + (kFixtures / "sysfs-tree" / archive).string() + "' -C '" + folder_.string() +
        "' --exclude='*/memory[0-9]*' --exclude='*/system/cpu/*' --exclude='*/dev/cpuset/*' "
        "--exclude='*/block/*' 2>/dev/null";
    if (std::system(command.c_str()) != 0) ADD_FAILURE() << "tar cannot unpack " << archive;
    auto survey = read_recording_folder(folder_);
    EXPECT_TRUE(survey.ok()) << (survey.ok() ? "" : survey.error().to_string());
    return survey.ok() ? *std::move(survey) : Survey{};
  }
  fs::path folder_;
};

TEST_F(SysfsTree, ACloudMachineWithOneGpu) {
  const Survey survey = unpack("ghw__linux-amd64-accel-nvidia.tar.gz");
  ASSERT_EQ(survey.gpus.size(), 1U);
  EXPECT_EQ(survey.gpus[0].name, "NVIDIA Tesla P100 PCIe 16GB");
  EXPECT_EQ(survey.gpus[0].has_driver, true);
  EXPECT_EQ(survey.gpus[0].address->to_string(), "0000:06:00.0");
  EXPECT_EQ(summary(judge(survey)), "virtual-machine:i");
}

TEST_F(SysfsTree, AServerWithoutGpus) {
  const Survey survey = unpack("ghw__linux-amd64-8581cf3a529e5d8b97ea876eade2f60d.tar.gz");
  EXPECT_EQ(survey.gpus.size(), 0U);
  EXPECT_EQ(survey.host.host.sockets, 2);
  EXPECT_EQ(survey.host.host.numa_nodes.size(), 2U);
  EXPECT_EQ(summary(judge(survey)), "no-gpu:i");
}

TEST_F(SysfsTree, FourSocketsWithPciLocality) {
  const Survey survey = unpack("hwloc__40intel64-2g2n4c+pcilocality.tar.bz2");
  EXPECT_EQ(survey.host.host.cores, 40);
  EXPECT_EQ(survey.host.host.numa_nodes.size(), 4U);
  EXPECT_EQ(summary(judge(survey)), "no-gpu:i");
}

TEST_F(SysfsTree, GpuMemoryIsNoNumaNodeOfTheHost) {
  const Survey survey = unpack("hwloc__nvidiagpunumanodes.tar.bz2");
  EXPECT_EQ(survey.gpus.size(), 6U);
  EXPECT_EQ(survey.host.host.numa_nodes.size(), 2U);
  EXPECT_EQ(gpu_links(survey), 15);
  EXPECT_EQ(summary(judge(survey)), "");
}

// A tree packed as text (ttar): "Path: a/b" with "Lines: 2" of content or "SymlinkTo: c", and
// "Directory: a".
void unpack_text_archive(const fs::path& archive, const fs::path& folder) {
  std::ifstream in(archive);
  std::string line;
  fs::path file;
  while (std::getline(in, line)) {
    const std::size_t colon = line.find(": ");
    const std::string key = line.substr(0, colon);
    const std::string value = colon == std::string::npos ? "" : line.substr(colon + 2);
    if (key == "Directory") fs::create_directories(folder / value);
    if (key == "Path") {
      file = folder / value;
      fs::create_directories(file.parent_path());
    }
    if (key == "SymlinkTo") fs::create_symlink(value, file);
    if (key != "Lines") continue;
    std::ofstream out(file);
    for (int i = std::stoi(value); i > 0 && std::getline(in, line); --i) out << line << "\n";
  }
}

TEST_F(SysfsTree, ATreePackedAsText) {
  const fs::path archive = kFixtures / "sysfs-tree/node_exporter__sys.ttar";
  const auto packed = read_recording_folder(archive);
  ASSERT_FALSE(packed.ok());
  EXPECT_THAT(packed.error().to_string(), ::testing::HasSubstr("unpack it first"));
  unpack_text_archive(archive, folder_);
  const auto survey = read_recording_folder(folder_);
  ASSERT_TRUE(survey.ok()) << survey.error().to_string();
  EXPECT_EQ(survey->pci.size(), 3U);
  EXPECT_EQ(survey->gpus.size(), 0U);
  EXPECT_EQ(summary(judge(*survey)), "no-gpu:i");
}

TEST(Fixtures, ManySourcesOfOneMachineAgree) {
  SKIP_WITHOUT_FIXTURES();
  const fs::path folder =
      fs::temp_directory_path() / ("tandem_sources_" + std::to_string(getpid()));
  fs::create_directories(folder);
  for (const auto& entry : fs::recursive_directory_iterator(kFixtures))
    if (entry.path().filename().string().find("stelline") == 0)
      fs::copy_file(entry.path(), folder / entry.path().filename());
  const auto survey = read_recording_folder(folder);
  fs::remove_all(folder);
  ASSERT_TRUE(survey.ok()) << survey.error().to_string();
  ASSERT_EQ(survey->gpus.size(), 2U);
  EXPECT_EQ(survey->gpus[1].name, "NVIDIA RTX 6000 Ada Generation");
  EXPECT_EQ(survey->gpus[1].link, (PcieLink{1, 16, 4, 16}));
  EXPECT_EQ(survey->host.host.cores, 24);
  const Link* link = survey->machine.find_link("cuda:0", "cuda:1");
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(link->kind, LinkKind::kPcieHost);
  EXPECT_EQ(link->peer_access, true);
  EXPECT_EQ(link->bandwidth_gbps, 26.32);
  EXPECT_EQ(link->latency_us, 1.12);
  EXPECT_EQ(summary(judge(*survey)), "persistence-off:i");
}

TEST(Fixtures, SeveralMachinesInAFolderAreRefused) {
  SKIP_WITHOUT_FIXTURES();
  const auto survey = read_recording_folder(kFixtures / "nvidia-smi-xml");
  ASSERT_FALSE(survey.ok());
  EXPECT_THAT(survey.error().to_string(), ::testing::HasSubstr("another machine"));
}

}  // namespace
}  // namespace tandem
