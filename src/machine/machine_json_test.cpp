#include "machine/machine_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace tandem {
namespace {

using ::testing::HasSubstr;

Machine sample() {
  Machine machine;
  MachineDevice gpu;
  gpu.id = "cuda:0";
  gpu.kind = MachineDeviceKind::kGpu;
  gpu.name = "NVIDIA GeForce RTX 3090";
  gpu.memory_bytes = 25769803776;
  gpu.bandwidth_gbps = 936.2;
  gpu.pcie = {1, 16, 4, 16};
  gpu.numa_node = 0;
  gpu.power_limit_w = 350;
  gpu.pci_address = "0000:01:00.0";
  MachineDevice cpu;
  cpu.id = "cpu:0-3";
  cpu.name = "Some CPU";
  cpu.cores = {0, 1, 2, 3};
  machine.devices = {gpu, cpu};
  Link link;
  link.a = "cuda:0";
  link.b = "cpu:0-3";
  link.kind = LinkKind::kPcieHost;
  link.bandwidth_gbps = 25.0;
  machine.links = {link};
  machine.host.cpu = "Some CPU";
  machine.host.cores = 4;
  machine.host.numa_nodes = {{0, {0, 1, 2, 3}, 1000}};
  return machine;
}

TEST(MachineJson, RoundTrip) {
  const auto back = machine_from_json(machine_to_json(sample()));
  ASSERT_TRUE(back.ok()) << back.error().to_string();
  EXPECT_EQ(*back, sample());
}

TEST(MachineJson, UnknownIsNull) {
  const auto json = machine_to_json(sample());
  EXPECT_TRUE(json["devices"][1]["memory_bytes"].is_null());
  EXPECT_TRUE(json["devices"][1]["pcie"]["width"].is_null());
  EXPECT_TRUE(json["links"][0]["peer_access"].is_null());
  EXPECT_TRUE(json["host"]["memory_bytes"].is_null());
  EXPECT_EQ(json["host"]["numa_nodes"], 1);
  EXPECT_EQ(json["devices"][0]["kind"], "gpu");
}

TEST(MachineJson, TheContractAloneIsEnough) {
  const auto machine = machine_from_json(nlohmann::json::parse(
      R"({"devices":[{"id":"cuda:0","kind":"gpu","name":"X"}],"host":{"numa_nodes":2}})"));
  ASSERT_TRUE(machine.ok()) << machine.error().to_string();
  EXPECT_EQ(machine->host.numa_nodes.size(), 2U);
}

TEST(MachineJson, NamesTheFieldThatIsWrong) {
  const auto error = [](const char* text) {
    const auto machine = machine_from_json(nlohmann::json::parse(text));
    return machine.ok() ? "no error" : machine.error().to_string();
  };
  EXPECT_THAT(error("[]"), HasSubstr("machine"));
  EXPECT_THAT(error(R"({"devices":3})"), HasSubstr("machine.devices"));
  EXPECT_THAT(error(R"({"devices":[{"kind":"gpu"}]})"), HasSubstr("devices[0].id"));
  EXPECT_THAT(error(R"({"devices":[{"id":"a","kind":"tpu"}]})"), HasSubstr("devices[0].kind"));
  EXPECT_THAT(error(R"({"devices":[{"id":"a","kind":"gpu","memory_bytes":1.5}]})"),
              HasSubstr("devices[0].memory_bytes"));
  EXPECT_THAT(error(R"({"devices":[{"id":"a","kind":"gpu","numa_node":99999999999}]})"),
              HasSubstr("devices[0].numa_node"));
  EXPECT_THAT(error(R"({"devices":[{"id":"a","kind":"gpu"},{"id":"a","kind":"gpu"}]})"),
              HasSubstr("twice"));
  EXPECT_THAT(error(R"({"links":[{"a":"x","b":"y"}]})"), HasSubstr("links[0].a"));
  EXPECT_THAT(error(R"({"host":{"numa_nodes":1000000000}})"), HasSubstr("host.numa_nodes"));
}

}  // namespace
}  // namespace tandem
