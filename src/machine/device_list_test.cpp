#include "machine/device_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string error_of(std::string_view text) {
  const auto specs = parse_device_list(text);
  return specs.ok() ? "no error" : specs.error().to_string();
}

Machine two_nodes() {
  Machine machine;
  machine.host.memory_bytes = 1200;
  machine.host.numa_nodes = {{0, {0, 1, 4, 5}, 600}, {1, {2, 3, 6, 7}, 600}};
  MachineDevice first;
  first.id = "cpu:0-1";
  first.cores = {0, 1};
  first.memory_bytes = 600;
  MachineDevice second = first;
  second.id = "cpu:2-3";
  second.cores = {2, 3};
  machine.devices = {first, second};
  return machine;
}

Result<std::vector<MachineDevice>> select(std::string_view text, const Machine& machine) {
  const auto specs = parse_device_list(text);
  EXPECT_TRUE(specs.ok()) << specs.error().to_string();
  return select_devices(*specs, machine);
}

TEST(DeviceList, ReadsEveryForm) {
  const auto specs = parse_device_list("cpu:0-3+8-11,cpu:4,cuda:0#0,cuda:0#1,cuda:12");
  ASSERT_TRUE(specs.ok()) << specs.error().to_string();
  ASSERT_EQ(specs->size(), 5U);
  EXPECT_THAT((*specs)[0].cores, ElementsAre(0, 1, 2, 3, 8, 9, 10, 11));
  EXPECT_THAT((*specs)[1].cores, ElementsAre(4));
  EXPECT_EQ((*specs)[3].gpu_index, 0);
  EXPECT_EQ((*specs)[3].part, 1);
  EXPECT_EQ((*specs)[4].gpu_index, 12);
  EXPECT_EQ((*specs)[4].part, std::nullopt);
}

TEST(DeviceList, WritesIdsAsTheyWereRead) {
  for (const char* text : {"cpu", "auto", "cpu:0", "cpu:0-3+8-11", "cuda:0#1", "cpu:0-1#0"}) {
    const auto specs = parse_device_list(text);
    ASSERT_TRUE(specs.ok()) << specs.error().to_string();
    EXPECT_EQ(specs->front().id(), text);
  }
}

TEST(DeviceList, RefusesWhatIsNoDevice) {
  for (const char* text :
       {"", ",", "cpu,", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x", "cpu:", "cpu:0-", "cpu:-3",
        "cpu:a", "cuda:0#", "auto#0", "cpu:0++1", " cpu", "cuda:99999999999", "cpu:0-1-2"})
    EXPECT_THAT(error_of(text), HasSubstr("--devices")) << "'" << text << "'";
}

TEST(DeviceList, RefusesRangesThatRunBackwardsOrOn) {
  EXPECT_THAT(error_of("cpu:3-0"), HasSubstr("backwards"));
  EXPECT_THAT(error_of("cpu:0-999999999"), HasSubstr("no such core"));
  EXPECT_THAT(error_of("cpu:0-65535+0-65535+0-65535"), HasSubstr("twice"));
}

TEST(DeviceList, SharedCoresNeedParts) {
  EXPECT_THAT(error_of("cpu:0-3,cpu:3-4"), HasSubstr("two devices share a core"));
  EXPECT_THAT(error_of("cpu,cpu:1"), HasSubstr("two devices share a core"));
  EXPECT_THAT(error_of("cuda:0,cuda:0"), HasSubstr("a GPU is named twice"));
  EXPECT_THAT(error_of("cuda:0#1,cuda:0#1"), HasSubstr("a GPU is named twice"));
  EXPECT_THAT(error_of("cuda:0,cuda:0#1"), HasSubstr("a GPU is named twice"));
  EXPECT_TRUE(parse_device_list("cuda:0#0,cuda:0#1").ok());
  EXPECT_TRUE(parse_device_list("cpu:0-1#0,cpu:0-1#1").ok());
}

TEST(DeviceList, AutoStandsAlone) {
  EXPECT_THAT(error_of("auto,cpu"), HasSubstr("auto stands alone"));
}

TEST(SelectDevices, CpuIsEveryPhysicalCore) {
  const auto devices = select("cpu", two_nodes());
  ASSERT_TRUE(devices.ok()) << devices.error().to_string();
  EXPECT_THAT(devices->front().cores, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(devices->front().id, "cpu");
  EXPECT_EQ(devices->front().memory_bytes, 1200);
  EXPECT_EQ(devices->front().numa_node, std::nullopt);
}

TEST(SelectDevices, AutoTakesNumaNodesUnlessThereAreGpus) {
  Machine machine = two_nodes();
  EXPECT_EQ(select("auto", machine)->size(), 2U);
  MachineDevice gpu;
  gpu.id = "cuda:0";
  gpu.kind = MachineDeviceKind::kGpu;
  machine.devices.push_back(gpu);
  const auto devices = select("auto", machine);
  ASSERT_EQ(devices->size(), 1U);
  EXPECT_EQ(devices->front().id, "cuda:0");
}

TEST(SelectDevices, CoresOutsideTheProcessAreRefused) {
  const auto devices = select("cpu:6-8", two_nodes());
  ASSERT_FALSE(devices.ok());
  EXPECT_THAT(devices.error().to_string(), HasSubstr("no core 8"));
  EXPECT_THAT(devices.error().to_string(), HasSubstr("0-7"));
}

TEST(SelectDevices, CpuDevicesShareTheMemoryByCores) {
  const auto devices = select("cpu:0,cpu:2-3", two_nodes());
  ASSERT_TRUE(devices.ok());
  EXPECT_EQ((*devices)[0].memory_bytes, 400);
  EXPECT_EQ((*devices)[1].memory_bytes, 800);
  EXPECT_EQ((*devices)[0].numa_node, 0);
  EXPECT_EQ((*devices)[1].numa_node, 1);
}

TEST(SelectDevices, PartsOfAGpuShareItsMemory) {
  Machine machine;
  MachineDevice gpu;
  gpu.id = "cuda:0";
  gpu.kind = MachineDeviceKind::kGpu;
  gpu.memory_bytes = 1000;
  machine.devices = {gpu};
  const auto devices = select("cuda:0#0,cuda:0#1", machine);
  ASSERT_TRUE(devices.ok());
  EXPECT_EQ((*devices)[1].id, "cuda:0#1");
  EXPECT_EQ((*devices)[1].memory_bytes, 500);
  EXPECT_FALSE(select("cuda:1", machine).ok());
}

}  // namespace
}  // namespace tandem
