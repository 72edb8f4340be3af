#include "machine/finding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "machine/survey_fixture.h"

namespace tandem {
namespace {

std::vector<Finding> judged(Survey survey) {
  const Status status = assemble_machine(survey);
  EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().to_string());
  return judge(survey);
}

std::vector<std::string> ids(const std::vector<Finding>& findings) {
  std::vector<std::string> list;
  for (const Finding& finding : findings) list.push_back(finding.id);
  return list;
}

const Finding* find(const std::vector<Finding>& findings, const std::string& id) {
  for (const Finding& finding : findings)
    if (finding.id == id) return &finding;
  return nullptr;
}

GpuFacts& second(Survey& survey) {
  return survey.gpus[1];
}
PciDevice& second_port(Survey& survey) {
  return survey.pci[PciAddress{0, 0x60, 1, 1}];
}
PciDevice& second_card(Survey& survey) {
  return survey.pci[PciAddress{0, 0x61, 0, 0}];
}

void narrow(Survey& survey, int width) {
  second(survey).link.width = width;
  second_card(survey).link.width = width;
  second_port(survey).link.width = width;
}

void without_nvlink(Survey& survey) {
  survey.pairs.clear();
  for (GpuFacts& gpu : survey.gpus) gpu.nvlinks.reset();
}

void rename_gpus(Survey& survey, const std::string& name, std::int64_t gib) {
  without_nvlink(survey);
  for (GpuFacts& gpu : survey.gpus) {
    gpu.name = name;
    gpu.memory_bytes = gib << 30;
  }
}

// A fault put into the healthy machine, and the finding that it must cause.
struct Planted {
  std::string name;
  std::string id;
  Severity severity;
  std::function<void(Survey&)> spoil;
};

class PlantedFault : public ::testing::TestWithParam<Planted> {};

TEST_P(PlantedFault, IsFoundWhereItIsAndNotWhereItIsNot) {
  const Planted& planted = GetParam();
  EXPECT_EQ(find(judged(healthy_survey()), planted.id), nullptr) << "found on a healthy machine";
  Survey survey = healthy_survey();
  planted.spoil(survey);
  const auto findings = judged(survey);
  const Finding* finding = find(findings, planted.id);
  ASSERT_NE(finding, nullptr) << ::testing::PrintToString(ids(findings));
  EXPECT_EQ(finding->severity, planted.severity) << finding->title;
  EXPECT_FALSE(finding->title.empty());
  EXPECT_FALSE(finding->advice.empty());
}

const std::vector<Planted> kPlanted{
    {"Seating", "pcie-width", Severity::kError, [](Survey& s) { narrow(s, 4); }},
    {"SeatingAtHalf", "pcie-width", Severity::kInfo, [](Survey& s) { narrow(s, 8); }},
    {"SlotWiredNarrow", "pcie-width", Severity::kWarning,
     [](Survey& s) {
       narrow(s, 4);
       second_port(s).link.max_width = 4;
     }},
    {"GenerationOfThePlatform", "pcie-generation", Severity::kInfo,
     [](Survey& s) { second(s).slot_generation = 3; }},
    {"GenerationHeldByFirmware", "pcie-generation-limited", Severity::kWarning,
     [](Survey& s) { second_port(s).target_generation = 3; }},
    {"GenerationLowUnderLoad", "pcie-generation-low", Severity::kWarning,
     [](Survey& s) {
       second(s).performance_state = 0;
       second(s).utilisation_percent = 98;
     }},
    {"BehindTheChipset", "behind-chipset", Severity::kWarning,
     [](Survey& s) { second_port(s).device_id = 0x43f5; }},
    {"SharedUplink", "shared-uplink", Severity::kInfo,
     [](Survey& s) {
       PciDevice above;
       above.address = {0, 0, 1, 0};
       above.class_code = 0x0604;
       above.link = {4, 16, 4, 16};
       s.pci[above.address] = above;
       s.pci[{0, 0x40, 1, 1}].parent = above.address;
       second_port(s).parent = above.address;
     }},
    {"MoreLanesThanTheCpuHas", "lanes", Severity::kInfo,
     [](Survey& s) {
       s.host.host.cpu = "AMD Ryzen 9 5950X 16-Core Processor";
       narrow(s, 8);
     }},
    {"ErrorsThatGrow", "pcie-errors", Severity::kWarning,
     [](Survey& s) {
       s.rates = {{second_card(s).address, "", "correctable", 10, 25, 1}};
     }},
    {"FatalErrorsThatGrow", "pcie-errors", Severity::kError,
     [](Survey& s) {
       s.rates = {{second_port(s).address, "", "fatal", 0, 1, 1}};
     }},
    {"NoPeerAccessOnGeForce", "peer-access", Severity::kInfo,
     [](Survey& s) { rename_gpus(s, "NVIDIA GeForce RTX 4090", 24); }},
    {"NoPeerAccessOnAWorkstation", "peer-access", Severity::kWarning,
     [](Survey& s) {
       without_nvlink(s);
       s.pair(0, 1).peer["read"] = "CNS";
     }},
    {"CopyCameOutWrong", "peer-copy-broken", Severity::kError,
     [](Survey& s) { s.pair(0, 1).trial_failure = "bytes arrived changed"; }},
    {"SumsCameOutWrong", "peer-reduction-broken", Severity::kError,
     [](Survey& s) {
       s.pair(0, 1).copy_verified = true;
       s.pair(0, 1).trial_failure = "5 sums are wrong";
     }},
    {"NvlinkSwitchedOff", "driver-parameters", Severity::kWarning,
     [](Survey& s) {
       s.host.driver_params = {{"NvLinkDisable", "1"}};
     }},
    {"PeerAccessForced", "driver-parameters", Severity::kInfo,
     [](Survey& s) {
       s.host.driver_params = {{"RegistryDwords", "ForceP2P=0x11"}};
     }},
    {"CardsLeftOut", "driver-parameters", Severity::kInfo,
     [](Survey& s) {
       s.host.driver_params = {{"ExcludedGpus", "GPU-1"}, {"NvLinkDisable", "0"}};
     }},
    {"AcsRedirect", "acs-redirect", Severity::kWarning,
     [](Survey& s) {
       without_nvlink(s);
       second_port(s).acs_redirect = true;
     }},
    {"Iommu", "iommu", Severity::kWarning,
     [](Survey& s) {
       without_nvlink(s);
       s.host.iommu_translates = true;
     }},
    {"IommuGroups", "iommu", Severity::kWarning,
     [](Survey& s) {
       without_nvlink(s);
       second_card(s).iommu_group = 15;
       second_card(s).iommu_type = "DMA-FQ";
     }},
    {"SmallBar", "rebar-off", Severity::kInfo,
     [](Survey& s) {
       rename_gpus(s, "NVIDIA GeForce RTX 3090", 24);
       second(s).bar1_bytes = 256 << 20;
     }},
    {"ProcessFarFromTheCard", "numa-remote", Severity::kWarning,
     [](Survey& s) {
       s.is_local = true;
       s.host.host.numa_nodes.push_back({1, {4, 5}, std::nullopt});
       s.host.allowed_cores = {4, 5};
     }},
    {"MemoryNearTheCardWithheld", "numa-remote", Severity::kWarning,
     [](Survey& s) {
       s.is_local = true;
       s.host.host.numa_nodes[0].index = 1;
       s.host.allowed_cores = {0, 1};
     }},
    {"CardsOnTwoNodes", "numa-split", Severity::kInfo,
     [](Survey& s) {
       second(s).numa_node = 1;
       second_card(s).numa_node = 1;
     }},
    {"NodeNotKnown", "numa-unknown", Severity::kWarning,
     [](Survey& s) {
       s.host.host.numa_nodes.push_back({1, {4, 5}, std::nullopt});
       second_card(s).numa_node = -1;
     }},
    {"CpuQuota", "cpu-quota", Severity::kInfo,
     [](Survey& s) {
       s.is_local = true;
       s.host.host.cpu_quota = 2;
     }},
    {"SomeNvlinksDown", "nvlink-inactive", Severity::kWarning,
     [](Survey& s) { (*second(s).nvlinks)[1].active = false; }},
    {"UnequalNvlinks", "nvlink-asymmetric", Severity::kWarning,
     [](Survey& s) { second(s).nvlinks->pop_back(); }},
    {"NoBridge", "nvlink-bridge", Severity::kInfo,
     [](Survey& s) { s.pair(0, 1).topology = "PHB"; }},
    {"FabricNotReady", "nvlink-fabric", Severity::kError,
     [](Survey& s) { second(s).fabric_state = "In Progress"; }},
    {"FabricIll", "nvlink-fabric", Severity::kError,
     [](Survey& s) { second(s).fabric_faults = {"bandwidth: Degraded"}; }},
    {"PowerBrake", "power-source", Severity::kError,
     [](Survey& s) { second(s).slowdowns = {"hw_power_brake_slowdown"}; }},
    {"UndersizedSource", "power-source", Severity::kError,
     [](Survey& s) { second(s).power.source = "undersized"; }},
    {"OnBattery", "power-source", Severity::kWarning,
     [](Survey& s) { second(s).power.source = "battery"; }},
    {"LowPowerLimit", "power-limit-low", Severity::kInfo,
     [](Survey& s) { second(s).power.limit_w = 150; }},
    {"HardThermalSlowdown", "thermal-slowdown", Severity::kError,
     [](Survey& s) { second(s).slowdowns = {"hw_thermal_slowdown"}; }},
    {"SoftThermalSlowdown", "thermal-slowdown", Severity::kWarning,
     [](Survey& s) { second(s).slowdowns = {"sw_thermal_slowdown"}; }},
    {"CloseToTheLimit", "temperature", Severity::kWarning,
     [](Survey& s) { second(s).thermals.temperature_c = 93; }},
    {"LittleHeadroom", "temperature", Severity::kWarning,
     [](Survey& s) { second(s).thermals.headroom_c = 2; }},
    {"HotWhileIdle", "temperature", Severity::kWarning,
     [](Survey& s) { second(s).thermals.temperature_c = 82; }},
    {"SlowedByHeatBefore", "slowdown-history", Severity::kInfo,
     [](Survey& s) { second(s).slowdown_us["hw_thermal_slowdown"] = 42'000'000; }},
    {"SlowedByTheDriverBefore", "slowdown-history", Severity::kInfo,
     [](Survey& s) { second(s).slowdown_us["sw_thermal_slowdown"] = 90'000'000; }},
    {"BrakedBySupplyBefore", "slowdown-history", Severity::kInfo,
     [](Survey& s) { second(s).slowdown_us["hw_power_brake_slowdown"] = 2'000'000; }},
    {"FanStopped", "fan-stopped", Severity::kWarning,
     [](Survey& s) {
       second(s).thermals.temperature_c = 78;
       second(s).thermals.fan_percent = 0;
     }},
    {"EccErrors", "ecc-errors", Severity::kError,
     [](Survey& s) { second(s).health.uncorrectable_since_boot = 5; }},
    {"RepairFailed", "memory-repair-failed", Severity::kError,
     [](Survey& s) { second(s).health.repair_failed = true; }},
    {"RepairPending", "memory-repair-pending", Severity::kWarning,
     [](Survey& s) { second(s).health.repair_pending = true; }},
    {"FewRetiredPages", "retired-pages", Severity::kInfo,
     [](Survey& s) { second(s).health.retired_pages = 3; }},
    {"ManyRetiredPages", "retired-pages", Severity::kWarning,
     [](Survey& s) { second(s).health.retired_pages = 60; }},
    {"RecoveryAsked", "gpu-needs-recovery", Severity::kError,
     [](Survey& s) { second(s).health.recovery_action = "Reset"; }},
    {"FellOffTheBus", "xid", Severity::kError,
     [](Survey& s) {
       s.host.xids = {{std::nullopt, 79, 1, "NVRM: Xid ... 79"}};
     }},
    {"AProgramsXid", "xid", Severity::kInfo,
     [](Survey& s) {
       s.host.xids = {{std::nullopt, 13, 1, "NVRM: Xid ... 13"}};
     }},
    {"UnknownXid", "xid", Severity::kWarning,
     [](Survey& s) {
       s.host.xids = {{std::nullopt, 999, 1, "NVRM: Xid ... 999"}};
     }},
    {"FaultInALog", "log-fault", Severity::kWarning,
     [](Survey& s) { s.host.log_faults = {"[ERROR] NVSwitch"}; }},
    {"MixedCards", "mixed-gpus", Severity::kInfo,
     [](Survey& s) { second(s).name = "NVIDIA RTX A4000"; }},
    {"MixedMemory", "mixed-gpus", Severity::kInfo,
     [](Survey& s) { second(s).memory_bytes = std::int64_t{24} << 30; }},
    {"Display", "display-attached", Severity::kInfo,
     [](Survey& s) { second(s).display_active = true; }},
    {"Mig", "mig-enabled", Severity::kInfo, [](Survey& s) { second(s).mig = true; }},
    {"PersistenceOff", "persistence-off", Severity::kInfo,
     [](Survey& s) { second(s).persistence = false; }},
    {"MemoryInUse", "memory-in-use", Severity::kWarning,
     [](Survey& s) { second(s).memory_used_bytes = std::int64_t{10} << 30; }},
    {"LittleHostMemory", "host-memory", Severity::kWarning,
     [](Survey& s) { s.host.host.memory_bytes = std::int64_t{16} << 30; }},
    {"EmptyMemoryChannels", "memory-channels", Severity::kInfo,
     [](Survey& s) {
       s.host.memory = {{"A1", std::int64_t{32} << 30, 3200}};
     }},
    {"VirtualMachine", "virtual-machine", Severity::kInfo,
     [](Survey& s) { s.host.virtualisation = "KVM"; }},
    {"OldDriver", "driver-old", Severity::kInfo, [](Survey& s) { s.host.cuda_version = "11.4"; }},
    {"DriverOlderThanTheProgram", "driver-too-old", Severity::kError,
     [](Survey& s) { s.program_cuda_version = "13.1"; }},
    {"SourcesDisagree", "sources-disagree", Severity::kWarning,
     [](Survey& s) {
       s.conflicts = {{"cuda:0", "memory", "a: 1", "b: 2"}};
     }},
    {"WidthsDisagree", "sources-disagree", Severity::kWarning,
     [](Survey& s) { second_card(s).link.width = 8; }},
    {"DamagedRecording", "recording-damaged", Severity::kWarning,
     [](Survey& s) {
       s.sources = {{"x.xml", "nvidia-smi -q -x", "not well-formed"}};
     }},
    {"CutRecording", "recording-cut", Severity::kInfo,
     [](Survey& s) { s.cut_sources = {"lspci.txt: it ends within 0000:01:00.0"}; }},
    {"SourceOfThisComputerFailed", "source-failed", Severity::kWarning,
     [](Survey& s) {
       s.is_local = true;
       s.sources = {{"dmidecode", "this computer", "did not answer in time"}};
     }},
    {"DriverMismatch", "driver-failure", Severity::kError,
     [](Survey& s) { s.host.driver_failure = "Driver/library version mismatch"; }},
    {"DriverSilent", "driver-failure", Severity::kError,
     [](Survey& s) { s.host.driver_failure = "NVML does not start: code 9"; }},
    {"NoDriver", "gpu-without-driver", Severity::kWarning,
     [](Survey& s) {
       second(s).has_driver = false;
       second_card(s).driver = "nouveau";
     }},
    {"NoGpu", "no-gpu", Severity::kInfo,
     [](Survey& s) {
       without_nvlink(s);
       s.gpus.clear();
       s.pci.clear();
     }},
};

INSTANTIATE_TEST_SUITE_P(Doctor, PlantedFault, ::testing::ValuesIn(kPlanted),
                         [](const auto& planted) { return planted.param.name; });

TEST(Doctor, AHealthyMachineIsCalledHealthyAndNothingElse) {
  const auto findings = judged(healthy_survey());
  EXPECT_THAT(ids(findings), ::testing::ElementsAre("healthy"));
  EXPECT_EQ(verdict_of(findings), Severity::kOk);
}

TEST(Doctor, AnIdleLinkIsNoFault) {
  Survey survey = healthy_survey();
  for (GpuFacts& gpu : survey.gpus) gpu.link.generation = 1;
  EXPECT_THAT(ids(judged(survey)), ::testing::ElementsAre("healthy"));
  // Nor is one of which nothing tells whether the card works.
  for (GpuFacts& gpu : survey.gpus) {
    gpu.performance_state.reset();
    gpu.utilisation_percent.reset();
  }
  EXPECT_THAT(ids(judged(survey)), ::testing::ElementsAre("healthy"));
}

TEST(Doctor, TheKernelsIommuGroupsOutweighItsCommandLine) {
  Survey survey = healthy_survey();
  without_nvlink(survey);
  survey.host.iommu_translates = true;
  EXPECT_NE(find(judged(survey), "iommu"), nullptr);
  for (auto& [address, device] : survey.pci) device.iommu_type = "identity";
  EXPECT_EQ(find(judged(survey), "iommu"), nullptr);
}

TEST(Doctor, NeitherAcsNorIommuMatterToCardsThatNeverCopyDirectly) {
  Survey survey = healthy_survey();
  rename_gpus(survey, "NVIDIA GeForce RTX 4090", 24);
  survey.host.iommu_translates = true;
  second_port(survey).acs_redirect = true;
  EXPECT_EQ(find(judged(survey), "iommu"), nullptr);
  EXPECT_EQ(find(judged(survey), "acs-redirect"), nullptr);
  // They do where they may be the reason why the driver refuses.
  rename_gpus(survey, "NVIDIA RTX A6000", 48);
  survey.pair(0, 1).peer["read"] = "CNS";
  EXPECT_NE(find(judged(survey), "iommu"), nullptr);
  EXPECT_NE(find(judged(survey), "acs-redirect"), nullptr);
}

TEST(Doctor, ADriverOfTheProgramsMajorVersionWillDo) {
  Survey survey = healthy_survey();
  survey.program_cuda_version = "12.9";
  EXPECT_THAT(ids(judged(survey)), ::testing::ElementsAre("healthy"));
}

TEST(Doctor, CardsWithoutADriverTakeNoNumberOfCudas) {
  Survey survey = healthy_survey();
  without_nvlink(survey);
  survey.gpus.clear();  // as lspci alone tells
  survey.pci[PciAddress{0, 0x41, 0, 0}].driver = "vfio-pci";
  ASSERT_TRUE(assemble_machine(survey).ok());
  ASSERT_EQ(survey.gpus.size(), 2U);
  EXPECT_EQ(survey.gpus[0].address, second_card(survey).address);
  EXPECT_EQ(survey.gpus[1].has_driver, false);
  const auto findings = judge(survey);
  EXPECT_EQ(find(findings, "gpu-without-driver")->subject.substr(0, 6), "cuda:1");
}

TEST(Doctor, AnOldCounterIsNoFault) {
  Survey survey = healthy_survey();
  survey.gpus[1].replays = 174;
  second_port(survey).aer.correctable = 9000;
  survey.rates = {{second_port(survey).address, "", "correctable", 9000, 9000, 1}};
  survey.gpus[1].health.uncorrectable_ever = 1;
  survey.gpus[1].slowdown_us["sw_power_cap"] = 770'000'000;
  survey.gpus[1].slowdown_us["hw_thermal_slowdown"] = 20'000;
  survey.gpus[1].slowdown_us["sw_thermal_slowdown"] = 7'000'000;
  EXPECT_THAT(ids(judged(survey)), ::testing::ElementsAre("healthy"));
}

TEST(Doctor, NamesTheEndOfTheLinkThatCountsErrors) {
  Survey survey = healthy_survey();
  survey.rates = {{second_port(survey).address, "", "correctable", 9000, 9004, 2},
                  {second_card(survey).address, "", "replays", 3, 5, 7200},
                  {PciAddress{0, 0x10, 0, 0}, "NVMe", "correctable", 1, 2, 0}};
  const auto findings = judged(survey);
  ASSERT_EQ(findings.size(), 2U) << ::testing::PrintToString(ids(findings));
  EXPECT_EQ(findings[0].subject, "0000:10:00.0 NVMe");
  EXPECT_THAT(findings[0].evidence,
              ::testing::ElementsAre("at this device: correctable grew from 1 to 2 between the two "
                                     "recordings"));
  EXPECT_EQ(findings[1].subject, "cuda:1 (RTX A6000)");
  EXPECT_THAT(
      findings[1].evidence,
      ::testing::ElementsAre(
          "at the port above it, 0000:60:01.1: correctable grew from 9000 to 9004 in 2 s: 2 "
          "a second",
          "at the card: replays grew from 3 to 5 in 7200 s: 1 an hour"));
}

TEST(Doctor, SaysWhatWasTriedAndFoundRight) {
  Survey survey = healthy_survey();
  GpuPair& pair = survey.pair(0, 1);
  pair.can_access = true;
  pair.copy_verified = true;
  pair.measured_gbps = 22.5;
  pair.sums_verified = true;
  const auto findings = judged(survey);
  EXPECT_THAT(ids(findings), ::testing::ElementsAre("peer-verified", "healthy"));
  EXPECT_THAT(findings[0].evidence,
              ::testing::ElementsAre("cuda:0 - cuda:1: direct copies whole both ways, 22.5 GB/s; "
                                     "sums of a reduction right on both"));
}

TEST(Doctor, RefusedAccessCountsWithTheSpeedThroughHostMemory) {
  Survey survey = healthy_survey();
  without_nvlink(survey);
  GpuPair& pair = survey.pair(0, 1);
  pair.can_access = false;
  pair.measured_without_gbps = 7.2;
  ASSERT_TRUE(assemble_machine(survey).ok());
  EXPECT_EQ(survey.machine.links.at(0).bandwidth_gbps, 7.2);
  const auto findings = judge(survey);
  const Finding* refused = find(findings, "peer-access");
  ASSERT_NE(refused, nullptr);
  EXPECT_THAT(
      refused->evidence,
      ::testing::ElementsAre("cuda:0 - cuda:1: the driver refuses access; measured 7.2 GB/s "
                             "through host memory"));
}

TEST(Doctor, SaysWhyALinkIsNarrow) {
  Survey survey = healthy_survey();
  narrow(survey, 4);
  EXPECT_THAT(find(judged(survey), "pcie-width")->title, ::testing::HasSubstr("contact"));
  second_port(survey).link.max_width = 4;
  EXPECT_THAT(find(judged(survey), "pcie-width")->title, ::testing::HasSubstr("wired with x4"));
  survey.host.slots = {{"SLOT3", 4, 4, true, PciAddress{0, 0x61, 0, 0}}};
  EXPECT_EQ(find(judged(survey), "pcie-width")->confidence, "certain");
  // A second port of the same root complex device, with a drive below it.
  PciDevice sibling = second_port(survey);
  sibling.address.function = 2;
  sibling.secondary_bus = 0x70;
  PciDevice drive;
  drive.address = {0, 0x70, 0, 0};
  drive.parent = sibling.address;
  drive.class_code = 0x0108;
  drive.driver = "nvme";
  survey.pci[sibling.address] = sibling;
  survey.pci[drive.address] = drive;
  EXPECT_THAT(find(judged(survey), "pcie-width")->title, ::testing::HasSubstr("M.2"));
  survey.pci[drive.address].class_code = 0x0200;
  EXPECT_THAT(find(judged(survey), "pcie-width")->title, ::testing::HasSubstr("bifurcated"));
}

TEST(Doctor, TheGravestComesFirst) {
  Survey survey = healthy_survey();
  survey.gpus[0].persistence = false;
  survey.gpus[1].health.repair_failed = true;
  survey.gpus[1].thermals.temperature_c = 93;
  const auto findings = judged(survey);
  ASSERT_GE(findings.size(), 3U);
  for (std::size_t i = 1; i < findings.size(); ++i)
    EXPECT_GE(findings[i - 1].severity, findings[i].severity);
  EXPECT_EQ(findings.front().id, "memory-repair-failed");
  EXPECT_EQ(verdict_of(findings), Severity::kError);
}

}  // namespace
}  // namespace tandem
