#include "plan/links.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

Machine two_gpus(LinkKind kind, std::optional<bool> peer) {
  Machine machine;
  for (const char* id : {"cuda:0", "cuda:1"}) {
    MachineDevice device;
    device.id = id;
    device.kind = MachineDeviceKind::kGpu;
    device.name = "RTX 3090";
    device.pcie = {1, 8, 4, 16};  // an idle link reads generation 1
    machine.devices.push_back(device);
  }
  machine.links.push_back({"cuda:0", "cuda:1", kind, {}, {}, peer});
  return machine;
}

Wire wire_of(const Machine& machine) {
  return wire_between(machine, machine.devices[0], machine.devices[1]);
}

TEST(Links, SlotWidthAndItsBestGenerationDecide) {
  const Wire direct = wire_of(two_gpus(LinkKind::kPcieHost, true));
  EXPECT_DOUBLE_EQ(direct.bandwidth_gbps, pcie_link(4, 8).bandwidth_gbps);
  EXPECT_TRUE(direct.peer);
  const Wire staged = wire_of(two_gpus(LinkKind::kPcieHost, false));
  EXPECT_LT(staged.bandwidth_gbps, direct.bandwidth_gbps);
  EXPECT_GT(staged.latency_us, direct.latency_us);
}

TEST(Links, NvlinkWithoutAMeasurementIsTheCards) {
  const Wire wire = wire_of(two_gpus(LinkKind::kNvlink, std::nullopt));
  EXPECT_TRUE(wire.nvlink);
  EXPECT_TRUE(wire.peer);
  EXPECT_NEAR(wire.bandwidth_gbps, 56.25 * 0.9, 0.1);
}

TEST(Links, AllReduceTakesTheCheapestWay) {
  const Wire peer{10, 10, true, false};
  EXPECT_EQ(all_reduce_time(peer, 1, 1e6).total_s(), 0);
  // Small: one step of latency. Large: 2 (P-1)/P of the bytes, two steps.
  EXPECT_NEAR(all_reduce_time(peer, 4, 1).total_s(), 10e-6, 1e-8);
  EXPECT_NEAR(all_reduce_time(peer, 4, 1e9).total_s(), 20e-6 + 1.5e9 / 10e9, 1e-6);
  // Without peer access there are ring and tree alone.
  const Wire staged{10, 10, false, false};
  EXPECT_NEAR(all_reduce_time(staged, 4, 1).total_s(), 40e-6, 1e-8);
  EXPECT_NEAR(all_reduce_time(staged, 4, 1e9).total_s(), 60e-6 + 1.5e9 / 10e9, 1e-6);
}

TEST(Links, UnknownNamesListTheKnown) {
  EXPECT_TRUE(find_link_spec("PCIE4X16").ok());
  const auto unknown = find_link_spec("pcie9x99");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(exit_code_of(unknown.error().code), 2);
  EXPECT_NE(unknown.error().to_string().find("nvlink3"), std::string::npos);
}

// What was measured between two processors of one memory counts, not what is typical.
TEST(Links, OfProcessorsAreAsMeasured) {
  Machine machine;
  for (const char* id : {"cpu:0", "cpu:1"}) {
    machine.devices.emplace_back();
    machine.devices.back().id = id;
  }
  const auto wire = [&] { return wire_between(machine, machine.devices[0], machine.devices[1]); };
  const double typical = (*find_link_spec("shared-memory"))->bandwidth_gbps;
  EXPECT_DOUBLE_EQ(wire().bandwidth_gbps, typical);
  machine.links.push_back({"cpu:0", "cpu:1", LinkKind::kSharedMemory, 7.5, {}, true});
  EXPECT_DOUBLE_EQ(wire().bandwidth_gbps, 7.5);
  EXPECT_DOUBLE_EQ(wire().latency_us, (*find_link_spec("shared-memory"))->latency_us);
  machine.links.back().latency_us = 1.5;
  EXPECT_DOUBLE_EQ(wire().latency_us, 1.5);
  EXPECT_TRUE(wire().peer);
}

}  // namespace
}  // namespace tandem
