#include "plan/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "machine/machine_json.h"
#include "plan/time_model.h"

namespace tandem {
namespace {

MachineDevice cpu(const std::string& id, std::vector<int> cores) {
  MachineDevice device;
  device.id = id;
  device.name = "Some CPU";
  device.memory_bytes = std::int64_t{1} << 34;
  device.cores = std::move(cores);
  return device;
}

// Two devices of one core that read 40 GB/s alone and 50 together.
Machine measured() {
  Machine machine;
  machine.host.cpu = "Some CPU";
  machine.host.bandwidth_gbps = 50;
  for (const int core : {0, 1}) {
    machine.devices.push_back(cpu("cpu:" + std::to_string(core), {core}));
    machine.devices.back().bandwidth_gbps = 40;
    machine.devices.back().products = ProductRates{1000, 450, 240};
  }
  machine.links.push_back({"cpu:0", "cpu:1", LinkKind::kSharedMemory, 15, 0.4, true});
  return machine;
}

Machine described(std::vector<MachineDevice> devices, const std::string& processor) {
  Machine machine;
  machine.devices = std::move(devices);
  machine.host.cpu = processor;
  return machine;
}

TEST(Calibration, GivesDevicesTheirRates) {
  Machine machine = described({cpu("cpu:1", {1})}, "Some CPU");
  ASSERT_TRUE(apply_measured_rates(measured(), machine));
  EXPECT_DOUBLE_EQ(*machine.devices[0].bandwidth_gbps, 40);
  EXPECT_DOUBLE_EQ(machine.devices[0].products->int8_gops, 1000);
  EXPECT_DOUBLE_EQ(*machine.host.bandwidth_gbps, 50);
}

TEST(Calibration, MoreCoresComputeInProportionAndReadWhatTheBusGives) {
  Machine machine = described({cpu("cpu", {0, 1})}, "Some CPU");
  ASSERT_TRUE(apply_measured_rates(measured(), machine));
  EXPECT_DOUBLE_EQ(*machine.devices[0].bandwidth_gbps, 50);
  EXPECT_DOUBLE_EQ(machine.devices[0].products->int8_gops, 2000);
}

// Not in proportion to what one core reads alone, which may be less than half of it.
TEST(Calibration, AllCoresReadWhatAllReadTogether) {
  Machine slow = measured();
  slow.host.bandwidth_gbps = 90;
  Machine machine = described({cpu("cpu", {0, 1})}, "Some CPU");
  ASSERT_TRUE(apply_measured_rates(slow, machine));
  EXPECT_DOUBLE_EQ(*machine.devices[0].bandwidth_gbps, 90);
}

TEST(Calibration, GivesLinksToEveryPair) {
  Machine machine = described({cpu("a", {0}), cpu("b", {1}), cpu("c", {2})}, "Some CPU");
  ASSERT_TRUE(apply_measured_rates(measured(), machine));
  ASSERT_EQ(machine.links.size(), 3u);
  for (const Link& link : machine.links) EXPECT_DOUBLE_EQ(*link.latency_us, 0.4);
}

TEST(Calibration, IsNotForAnotherProcessor) {
  Machine machine = described({cpu("cpu", {0})}, "Another CPU");
  EXPECT_FALSE(apply_measured_rates(measured(), machine));
  EXPECT_FALSE(machine.devices[0].bandwidth_gbps.has_value());
}

MachineDevice gpu(const std::string& id, const std::string& name) {
  MachineDevice device;
  device.id = id;
  device.kind = MachineDeviceKind::kGpu;
  device.name = name;
  return device;
}

TEST(Calibration, GivesGpusOfTheSameNameTheirRatesAndPairsTheirLinks) {
  Machine known = described({gpu("cuda:0", "A card"), gpu("cuda:1", "A card")}, "Some CPU");
  known.devices[0].bandwidth_gbps = 700;
  known.devices[0].products = ProductRates{300'000, 150'000, 38'000};
  known.links.push_back({"cuda:0", "cuda:1", LinkKind::kPcieHost, 20, 9, false});
  Machine machine = described(
      {gpu("cuda:0", "A card"), gpu("cuda:1", "A card"), gpu("cuda:2", "Another")}, "Some CPU");
  machine.links.push_back({"cuda:0", "cuda:1", LinkKind::kPcieHost, {}, {}, true});
  machine.links.push_back({"cuda:0", "cuda:2", LinkKind::kPcieHost, {}, {}, {}});
  ASSERT_TRUE(apply_measured_rates(known, machine));
  for (const int card : {0, 1}) {
    const MachineDevice& device = machine.devices[static_cast<std::size_t>(card)];
    EXPECT_DOUBLE_EQ(*device.bandwidth_gbps, 700);
    EXPECT_DOUBLE_EQ(device.products->bf16_gflops, 150'000);
  }
  EXPECT_FALSE(machine.devices[2].bandwidth_gbps.has_value());
  EXPECT_DOUBLE_EQ(*machine.links[0].bandwidth_gbps, 20);
  EXPECT_EQ(machine.links[0].peer_access, false);
  EXPECT_FALSE(machine.links[1].bandwidth_gbps.has_value());

  Machine of_cores = described({cpu("cpu", {0})}, "Some CPU");
  EXPECT_FALSE(apply_measured_rates(known, of_cores));
}

TEST(Calibration, ReadsWhatWasWritten) {
  EngineProfile engine = **find_engine("tandem");
  engine.backends["cpu"].memory_efficiency = 0.625;
  engine.backends["cpu"].host_us = 12.5;
  const nlohmann::json json = {{"machine", machine_to_json(measured())},
                               {"engines", nlohmann::json::array({to_json(engine)})}};
  const auto read = parse_calibration(json.dump(), "file");
  ASSERT_TRUE(read.ok()) << read.error().to_string();
  EXPECT_EQ(read->machine.devices, measured().devices);
  EXPECT_EQ(read->machine.host.bandwidth_gbps, measured().host.bandwidth_gbps);
  EXPECT_EQ(read->engine.backend("cpu").memory_efficiency, 0.625);
  EXPECT_EQ(read->engine.backend("cpu").host_us, 12.5);
  EXPECT_EQ(read->engine.backend("cpu").kernels, engine.backend("cpu").kernels);
  EXPECT_FALSE(read->engine.backend("cuda").is_measured);
}

// Files of versions that did not measure kernels would have them guessed: they are refused.
TEST(Calibration, WithoutKernelsIsAnError) {
  EngineProfile engine = **find_engine("tandem");
  engine.backends["cpu"].kernels.clear();
  const nlohmann::json json = {{"machine", machine_to_json(measured())},
                               {"engines", nlohmann::json::array({to_json(engine)})}};
  const auto read = parse_calibration(json.dump(), "file");
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().to_string(), ::testing::HasSubstr("bench --calibrate"));
}

TEST(Calibration, OtherTextsAreErrors) {
  for (const char* text : {"", "{}", "[]", "{\"machine\":{}}", "{\"machine\":{},\"engines\":[]}",
                           "{\"machine\":{},\"engines\":[{\"name\":\"x\"}]}"}) {
    EXPECT_FALSE(parse_calibration(text, "file").ok()) << text;
  }
}

}  // namespace
}  // namespace tandem
