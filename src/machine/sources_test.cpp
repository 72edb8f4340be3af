#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machine/recording_kind.h"
#include "machine/sources/bandwidth_logs.h"
#include "machine/sources/host_text.h"
#include "machine/sources/lspci.h"
#include "machine/sources/nvidia_smi.h"
#include "machine/sources/nvidia_topology.h"
#include "machine/sources/rocm_smi.h"
#include "machine/sources/topology_xml.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One source read into an empty survey.
struct Reading {
  Survey survey;
  Status status;
};

template <typename Reader>
Reading read(Reader reader, std::string_view text) {
  Reading reading;
  SurveyWriter writer(reading.survey, "test");
  reading.status = reader(text, writer);
  return reading;
}

template <typename Reader>
Survey survey_of(Reader reader, std::string_view text) {
  Reading reading = read(reader, text);
  EXPECT_TRUE(reading.status.ok()) << reading.status.error().to_string();
  return std::move(reading.survey);
}

TEST(PciAddress, ReadsEveryWayToWriteIt) {
  EXPECT_EQ(PciAddress::parse("01:00.0")->to_string(), "0000:01:00.0");
  EXPECT_EQ(PciAddress::parse("00000000:C1:00.0")->to_string(), "0000:c1:00.0");
  EXPECT_EQ(PciAddress::parse("10000:e1:1f.7")->to_string(), "10000:e1:1f.7");
  for (const char* text : {"", ":", ".", "01:00", "01:20.0", "01:00.8", "1:2:3:4.0", "g1:00.0",
                           "000000001:01:00.0", "01:00.0x", "0000:001:00.0"})
    EXPECT_FALSE(PciAddress::parse(text)) << text;
}

TEST(PcieSpeed, FollowsTheCoding) {
  EXPECT_NEAR(pcie_gbps(1, 16), 4.0, 1e-9);
  EXPECT_NEAR(pcie_gbps(3, 16), 15.754, 1e-3);
  EXPECT_NEAR(pcie_gbps(4, 4), 7.877, 1e-3);
  EXPECT_EQ(pcie_generation(2.5), 1);
  EXPECT_EQ(pcie_generation(32), 5);
  EXPECT_EQ(pcie_generation(7), std::nullopt);
  EXPECT_EQ(pcie_gbps(0, 16), 0);
  EXPECT_EQ(pcie_gbps(99, 16), 0);
}

TEST(TextScan, NumbersSizesAndFlags) {
  EXPECT_EQ(leading_int(" 16x"), 16);
  EXPECT_EQ(leading_int("N/A"), std::nullopt);
  EXPECT_EQ(leading_int("99999999999999999999"), std::nullopt);
  EXPECT_EQ(leading_number("350.00 W"), 350.0);
  EXPECT_EQ(leading_number("inf"), std::nullopt);
  EXPECT_EQ(leading_hex("0x10de"), 0x10de);
  EXPECT_EQ(size_in_bytes("24576 MiB"), std::int64_t{24576} << 20);
  EXPECT_EQ(size_in_bytes("64G"), std::int64_t{64} << 30);
  EXPECT_EQ(size_in_bytes("99999999999 PiB"), std::nullopt);
  EXPECT_EQ(size_in_bytes("-1 MiB"), std::nullopt);
  EXPECT_EQ(yes_or_no("Not Active"), false);
  EXPECT_EQ(yes_or_no("Perhaps"), std::nullopt);
}

TEST(TextScan, ClippedKeepsWholeCharacters) {
  EXPECT_EQ(clipped("abcdef", 3), "abc");
  EXPECT_EQ(clipped("abc", 3), "abc");
  EXPECT_EQ(clipped("ab\xC3\xA9", 3), "ab");
  EXPECT_EQ(clipped("\xE2\x82\xAC", 2), "");
}

TEST(TextScan, CleanTextIsUtf8WithoutEscapes) {
  EXPECT_EQ(clean_text("\x1b[4mGPU0\x1b[0m"), "GPU0");
  EXPECT_EQ(clean_text("a\xFF\xC0\xAF"
                       "b"),
            "a???b");
  EXPECT_EQ(clean_text("\xED\xA0\x80"), "???");  // a surrogate
  EXPECT_EQ(clean_text("gr\xC3\xBC\xC3\x9F"), "gr\xC3\xBC\xC3\x9F");
  EXPECT_EQ(clean_text(std::string("\xFF\xFEG\0P\0U\0", 8)), "GPU");
  EXPECT_EQ(clean_text(std::string("a\0b", 3)), "a?b");
  EXPECT_EQ(clean_text("\x1b["), "");
}

TEST(NvidiaSmiText, ReadsWhatTheXmlWouldSay) {
  const Survey survey = survey_of(read_nvidia_smi_text, R"(
==============NVSMI LOG==============

Driver Version                                         : 570.10
CUDA Version                                           : 12.8

Attached GPUs                                          : 1
GPU 00000000:0C:00.0
    Product Name                                       : NVIDIA GeForce RTX 3090
    Persistence Mode                                   : Disabled
    PCI
        GPU Link Info
            PCIe Generation
                Max                                    : 3
                Current                                : 1
                Device Max                             : 4
                Host Max                               : 3
            Link Width
                Max                                    : 16x
                Current                                : 8x
        Replays Since Reset                            : 7
    Performance State                                  : P2
    Clocks Event Reasons
        HW Slowdown                                    : Active
            HW Thermal Slowdown                        : Active
    FB Memory Usage
        Total                                          : 24576 MiB
        Used                                           : 100 MiB
    GPU Power Readings
        GPU Ceiling Power Limit
            Current Power Limit                        : 280.00 W
    Processes
        Process ID                                     : 1720
            Name                                       : python
            Used GPU Memory                            : 96 MiB
)");
  ASSERT_EQ(survey.gpus.size(), 1U);
  const GpuFacts& gpu = survey.gpus[0];
  EXPECT_EQ(gpu.address->to_string(), "0000:0c:00.0");
  EXPECT_EQ(gpu.link, (PcieLink{1, 8, 3, 16}));
  EXPECT_EQ(gpu.card_generation, 4);
  EXPECT_EQ(gpu.slot_generation, 3);
  EXPECT_EQ(gpu.replays, 7);
  EXPECT_EQ(gpu.power.limit_w, 280);
  EXPECT_EQ(gpu.persistence, false);
  EXPECT_EQ(gpu.performance_state, 2);
  EXPECT_THAT(gpu.slowdowns, ElementsAre("hw_slowdown", "hw_thermal_slowdown"));
  ASSERT_EQ(gpu.processes.size(), 1U);
  EXPECT_EQ(gpu.processes[0].name, "python");
  EXPECT_EQ(survey.host.driver_version, "570.10");
}

TEST(NvidiaSmiXml, SaysWhereItBreaks) {
  const Reading cut =
      read(read_nvidia_smi_xml, "<nvidia_smi_log><gpu id=\"00000000:01:00.0\"><pci>");
  ASSERT_FALSE(cut.status.ok());
  EXPECT_THAT(cut.status.error().to_string(), HasSubstr("at byte"));
  EXPECT_FALSE(read(read_nvidia_smi_xml, "<nvidia_smi_log></nvidia_smi_log>").status.ok());
  const Reading odd =
      read(read_nvidia_smi_xml, "<nvidia_smi_log><gpu id=\"nowhere\"/></nvidia_smi_log>");
  EXPECT_THAT(odd.status.error().to_string(), HasSubstr("nowhere"));
}

TEST(TopologyMatrix, ReadsPairsAndAffinity) {
  const Survey survey = survey_of(read_topology_matrix,
                                  "\tGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\n"
                                  "GPU0\t X \tNV4\tPIX\t0-3,8\t1\n"
                                  "GPU1\tNV4\t X \tSYS\t0-3,8\t1\n"
                                  "NIC0\tPIX\tSYS\t X \n");
  ASSERT_EQ(survey.gpus.size(), 2U);
  EXPECT_EQ(survey.find_pair(0, 1)->topology, "NV4");
  EXPECT_EQ(survey.gpus[1].numa_node, 1);
  EXPECT_THAT(survey.gpus[1].local_cores, ElementsAre(0, 1, 2, 3, 8));
}

TEST(TopologyMatrix, RefusesWhatIsCut) {
  EXPECT_FALSE(
      read(read_topology_matrix, "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tPHB\t0-3\n").status.ok());
  EXPECT_FALSE(read(read_topology_matrix, "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \n").status.ok());
  EXPECT_FALSE(read(read_topology_matrix, "\tGPU0\tCPU Affinity\n").status.ok());
}

TEST(TopologyMatrix, RefusesAnotherMachine) {
  Survey survey;
  SurveyWriter writer(survey, "test");
  ASSERT_TRUE(read_topology_matrix("\tGPU0\tCPU Affinity\nGPU0\t X \t0-3\n", writer).ok());
  const Status other = read_peer_matrix(" \tGPU0\tGPU1\n GPU0\tX\tOK\n GPU1\tOK\tX\n", writer);
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().to_string(), HasSubstr("another machine"));
}

TEST(PeerMatrix, KeepsTheReason) {
  const Survey survey =
      survey_of(read_peer_matrix, " \tGPU0\tGPU1\n GPU0\tX\tCNS\n GPU1\tCNS\tX\n");
  EXPECT_EQ(survey.find_pair(1, 0)->peer.at("read"), "CNS");
}

TEST(NvlinkStatus, CountsActiveAndInactiveLinks) {
  const Survey survey =
      survey_of(read_nvlink_status,
                "GPU 0: A (UUID: GPU-1)\n\t Link 0: 25 GB/s\n\t Link 1: <inactive>\n"
                "GPU 1: A (UUID: GPU-2)\nDevice does not have or support Nvlink\n");
  ASSERT_EQ(survey.gpus.size(), 2U);
  ASSERT_EQ(survey.gpus[0].nvlinks->size(), 2U);
  EXPECT_TRUE((*survey.gpus[0].nvlinks)[0].active);
  EXPECT_FALSE((*survey.gpus[0].nvlinks)[1].active);
  EXPECT_TRUE(survey.gpus[1].nvlinks->empty());
}

TEST(Lspci, ReadsLinksSlotsAndAcs) {
  Survey survey = survey_of(
      read_lspci,
      R"(00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:a70d] (prog-if 00 [Normal decode])
	Physical Slot: 7
	Bus: primary=00, secondary=01, subordinate=01, sec-latency=0
	Capabilities: [40] Express (v2) Root Port (Slot+), MSI 00
		LnkCap:	Port #2, Speed 32GT/s, Width x16, ASPM L1
		LnkSta:	Speed 2.5GT/s, Width x4 (downgraded)
		LnkCtl2: Target Link Speed: 16GT/s, EnterCompliance- SpeedDis-
	Capabilities: [220 v1] Access Control Services
		ACSCtl:	SrcValid+ TransBlk- ReqRedir+ CmpltRedir+
	Kernel driver in use: pcieport

01:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [GeForce RTX 4090] [10de:2684] (rev a1)
	NUMA node: 1
	Region 1: Memory at 6000000000 (64-bit, prefetchable) [size=256M]
	Capabilities: [bb0 v1] Physical Resizable BAR
		BAR 1: current size: 256MB, supported: 64MB 128MB 256MB 32GB
	Kernel modules: nouveau

02:00.0 Non-Volatile memory controller: Samsung NVMe
)");
  connect_by_bus(survey);
  const PciDevice& port = survey.pci.at({0, 0, 1, 0});
  EXPECT_EQ(port.port, PciPort::kRootPort);
  EXPECT_EQ(port.link, (PcieLink{1, 4, 5, 16}));
  EXPECT_EQ(port.target_generation, 4);
  EXPECT_EQ(port.physical_slot, "7");
  EXPECT_EQ(port.acs_redirect, true);
  const PciDevice& card = survey.pci.at({0, 1, 0, 0});
  EXPECT_EQ(card.parent, port.address);
  EXPECT_EQ(card.device_id, 0x2684);
  EXPECT_TRUE(card.is_compute_gpu());
  EXPECT_EQ(card.numa_node, 1);
  EXPECT_EQ(card.driver, "");
  ASSERT_EQ(card.bars.size(), 1U);
  EXPECT_EQ(card.bars[0].max_size_bytes, std::int64_t{32} << 30);
}

TEST(Lspci, RefusesAnotherMachine) {
  Survey survey;
  SurveyWriter writer(survey, "test");
  const char* first =
      "00:00.0 Host bridge: Intel Corporation A\n00:01.0 PCI bridge: Intel Corporation B\n"
      "01:00.0 3D controller: NVIDIA Corporation C\n";
  ASSERT_TRUE(read_lspci(first, writer).ok());
  EXPECT_TRUE(read_lspci(first, writer).ok());  // the same list again is no contradiction
  const Status other = read_lspci(
      "00:00.0 Host bridge: Advanced Micro Devices, Inc. [AMD] A\n"
      "00:01.0 Ethernet controller: Intel Corporation B\n01:00.0 Audio device: Intel Corporation "
      "C\n",
      writer);
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().to_string(), HasSubstr("another machine"));
}

TEST(LspciTree, FollowsTheDrawing) {
  const Survey survey = survey_of(read_lspci_tree, R"(-+-[0000:e0]-+-00.0  AMD Root Complex
 |           \-01.1-[e1]----00.0  NVIDIA Corporation AD102 [GeForce RTX 4090]
 \-[0000:00]-+-00.0  AMD Root Complex
             \-03.1-[01-05]----00.0-[02-05]--+-08.0-[03]----00.0  Samsung NVMe
                                             \-10.0-[04]--+-00.0  NVIDIA Corporation GA102 [GeForce RTX 3090]
                                                          \-00.1  NVIDIA Corporation GA102 High Definition Audio Controller
)");
  const PciDevice& first = survey.pci.at({0, 0xe1, 0, 0});
  EXPECT_EQ(first.parent, (PciAddress{0, 0xe0, 1, 1}));
  EXPECT_TRUE(first.is_compute_gpu());
  const PciAddress second{0, 4, 0, 0};
  EXPECT_TRUE(survey.pci.at(second).is_compute_gpu());
  EXPECT_FALSE(survey.pci.at({0, 4, 0, 1}).is_compute_gpu());
  std::vector<std::string> chain;
  for (const PciDevice* device : survey.chain(second)) chain.push_back(device->address.to_string());
  EXPECT_THAT(chain, ElementsAre("0000:04:00.0", "0000:02:10.0", "0000:01:00.0", "0000:00:03.1"));
}

TEST(Lstopo, ReadsHostNodesAndTree) {
  const Survey survey =
      survey_of(read_lstopo_xml, R"(<topology><object type="Machine" nodeset="0x3">
    <info name="DMIBoardName" value="Board"/><info name="DMIBoardVendor" value="Maker"/>
    <object type="Package" nodeset="0x1"><info name="CPUModel" value="A CPU"/>
      <object type="NUMANode" os_index="0" nodeset="0x1" cpuset="0x3" local_memory="1024"/>
      <object type="Core"><object type="PU"/></object>
      <object type="Bridge" bridge_type="0-1">
        <object type="Bridge" bridge_type="1-1" pci_busid="0000:00:01.0" pci_type="0604 [8086:1234] [0000:0000] 01">
          <object type="PCIDev" pci_busid="0000:01:00.0" pci_type="0302 [10de:1db8] [0000:0000] a1" pci_link_speed="15.75"/>
        </object></object></object></object></topology>)");
  EXPECT_EQ(survey.host.host.cpu, "A CPU");
  EXPECT_EQ(survey.host.host.cores, 1);
  EXPECT_EQ(survey.host.host.memory_bytes, 1024);
  EXPECT_EQ(survey.host.board, "Maker Board");
  const PciDevice& card = survey.pci.at({0, 1, 0, 0});
  EXPECT_EQ(card.parent, (PciAddress{0, 0, 1, 0}));
  EXPECT_EQ(card.device_id, 0x1db8);
  EXPECT_EQ(card.numa_node, 0);
  EXPECT_EQ(card.link_gbps, 15.75);
}

TEST(Dmidecode, SlotsBoardAndMemory) {
  const Survey survey = survey_of(read_dmidecode, R"(Handle 0x0002, DMI type 2, 15 bytes
Base Board Information
	Manufacturer: Maker
	Product Name: Board

Handle 0x0009, DMI type 9, 17 bytes
System Slot Information
	Designation: SLOT1
	Type: x8 PCI Express 4 x16
	Current Usage: In Use
	Bus Address: 0000:01:00.0

Handle 0x0030, DMI type 17, 40 bytes
Memory Device
	Size: No Module Installed
	Locator: A1

Handle 0x0031, DMI type 17, 40 bytes
Memory Device
	Size: 32 GB
	Locator: A2
	Configured Memory Speed: 3200 MT/s
)");
  EXPECT_EQ(survey.host.board, "Maker Board");
  ASSERT_EQ(survey.host.slots.size(), 1U);
  EXPECT_EQ(survey.host.slots[0].width, 8);
  EXPECT_EQ(survey.host.slots[0].generation, 4);
  EXPECT_EQ(survey.host.slots[0].in_use, true);
  ASSERT_EQ(survey.host.memory.size(), 2U);
  EXPECT_EQ(survey.host.memory[0].size_bytes, 0);
  EXPECT_EQ(survey.host.memory[1].configured_mts, 3200);
}

TEST(KernelLog, CountsXids) {
  const Survey survey =
      survey_of(read_kernel_log,
                "[1.0] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, GPU has fallen off the bus.\n"
                "[2.0] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, again\n"
                "[3.0] NVRM: Xid (PCI:0000:9b:00): nonsense\n"
                "[4.0] NVRM: API mismatch: the client has the version 1, but\n");
  ASSERT_EQ(survey.host.xids.size(), 1U);
  EXPECT_EQ(survey.host.xids[0].code, 79);
  EXPECT_EQ(survey.host.xids[0].count, 2);
  EXPECT_EQ(survey.host.xids[0].address->to_string(), "0000:9b:00.0");
  EXPECT_EQ(survey.host.log_faults.size(), 1U);
}

TEST(KernelCommandLine, TellsWhetherTheIommuTranslates) {
  const auto translates = [](std::string_view text) {
    Survey survey;
    SurveyWriter writer(survey, "test");
    read_kernel_command_line(text, writer);
    return survey.host.iommu_translates;
  };
  EXPECT_EQ(translates("quiet intel_iommu=on"), true);
  EXPECT_EQ(translates("intel_iommu=on iommu=pt"), false);
  EXPECT_EQ(translates("quiet"), std::nullopt);
}

TEST(DriverParams, ReadsValuesWithAndWithoutQuotes) {
  const Survey survey = survey_of(
      [](std::string_view text, SurveyWriter& writer) -> Status {
        EXPECT_EQ(recognise_recording(text), RecordingKind::kDriverParams);
        return read_recording(RecordingKind::kDriverParams, text, writer);
      },
      "ResmanDebugLevel: 4294967295\nNvLinkDisable: 1\nRegistryDwords: "
      "\"ForceP2P=0x11;RMForceP2PType=1\"\nExcludedGpus: \"\"\n");
  const auto& params = survey.host.driver_params;
  EXPECT_EQ(params.at("NvLinkDisable"), "1");
  EXPECT_EQ(params.at("RegistryDwords"), "ForceP2P=0x11;RMForceP2PType=1");
  EXPECT_EQ(params.at("ExcludedGpus"), "");
}

TEST(NvidiaSmiFailure, KeepsItsWords) {
  constexpr std::string_view kText =
      "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.54\n";
  ASSERT_EQ(recognise_recording(kText), RecordingKind::kNvidiaSmiFailure);
  const Survey survey = survey_of(
      [](std::string_view text, SurveyWriter& writer) {
        return read_recording(RecordingKind::kNvidiaSmiFailure, text, writer);
      },
      kText);
  EXPECT_EQ(survey.host.driver_failure,
            "Failed to initialize NVML: Driver/library version mismatch NVML library version: "
            "550.54");
}

TEST(RocmSmi, ReadsCards) {
  const Survey survey = survey_of(
      read_rocm_smi,
      "GPU[0]\t\t: PCI Bus: 0000:03:00.0\nGPU[0]\t\t: Card Series: \t\tRadeon RX 7900 XTX\n"
      "GPU[0]\t\t: VRAM Total Memory (B): 25753026560\n");
  ASSERT_EQ(survey.gpus.size(), 1U);
  EXPECT_EQ(survey.gpus[0].vendor, GpuVendor::kAmd);
  EXPECT_EQ(survey.gpus[0].memory_bytes, 25753026560);
  EXPECT_EQ(survey.gpu_id(0), "rocm:0");
}

TEST(P2pTest, KeepsTheSlowerDirection) {
  const Survey survey =
      survey_of(read_p2p_test,
                "Device: 0, A, pciBusID: 1\nDevice: 1, A, pciBusID: 2\n"
                "Device=0 CANNOT Access Peer Device=1\n"
                "Unidirectional P2P=Enabled Bandwidth (P2P Writes) Matrix (GB/s)\n"
                "   D\\D     0      1\n     0 800.00  26.00\n     1  24.00 800.00\n");
  EXPECT_EQ(survey.find_pair(0, 1)->can_access, false);
  EXPECT_EQ(survey.find_pair(0, 1)->measured_gbps, 24.0);
}

TEST(Conflict, TwoSourcesThatDifferAreNamed) {
  Survey survey;
  SurveyWriter first(survey, "a.txt");
  SurveyWriter second(survey, "b.txt");
  std::optional<int> slot;
  first.learn(slot, std::optional(4), "cuda:0", "widest link");
  second.learn(slot, std::optional(4), "cuda:0", "widest link");
  EXPECT_TRUE(survey.conflicts.empty());
  second.learn(slot, std::optional(8), "cuda:0", "widest link");
  ASSERT_EQ(survey.conflicts.size(), 1U);
  EXPECT_EQ(survey.conflicts[0].first, "a.txt: 4");
  EXPECT_EQ(survey.conflicts[0].second, "b.txt: 8");
  EXPECT_EQ(slot, 4);
}

TEST(RecordingKind, GoesByContent) {
  EXPECT_EQ(recognise_recording("<?xml version=\"1.0\"?>\n<nvidia_smi_log>"),
            RecordingKind::kNvidiaSmiXml);
  EXPECT_EQ(recognise_recording("<topology>"), RecordingKind::kLstopoXml);
  EXPECT_EQ(recognise_recording("<html></html>"), RecordingKind::kUnknown);
  EXPECT_EQ(recognise_recording("01:00.0 VGA compatible controller: NVIDIA"),
            RecordingKind::kLspci);
  EXPECT_EQ(recognise_recording("processor\t: 0\nmodel name\t: X"), RecordingKind::kCpuinfo);
  EXPECT_EQ(recognise_recording("Dear diary,"), RecordingKind::kUnknown);
  EXPECT_EQ(recognise_recording(""), RecordingKind::kUnknown);
  EXPECT_EQ(recognise_recording("BZh91AY"), RecordingKind::kArchive);
}

}  // namespace
}  // namespace tandem
