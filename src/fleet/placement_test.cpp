#include "fleet/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plan/machine_text.h"
#include "plan/planned_models.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Machine gpus(const std::string& text) {
  auto machine = machine_from_text({{text}, "", true});
  EXPECT_TRUE(machine.ok()) << machine.error().to_string();
  machine->host.memory_bytes = 64 * kGiB;
  return *machine;
}

// A host of two cores, 8 GiB, without GPUs.
Machine two_cores() {
  Machine machine;
  machine.host.memory_bytes = 8 * kGiB;
  machine.host.numa_nodes = {{0, {0, 1}, 8 * kGiB}};
  MachineDevice cpu;
  cpu.id = "cpu:0-1";
  cpu.cores = {0, 1};
  cpu.memory_bytes = 8 * kGiB;
  machine.devices = {cpu};
  return machine;
}

// The configuration in TOML, where each file is a known model: "llama-3-8b q4_k_m".
FleetPlacement place(const std::string& toml, const Machine& machine) {
  const FleetConfigOutcome outcome = parse_fleet_config(toml, "fleet.toml", "");
  EXPECT_THAT(outcome.errors, IsEmpty()) << first_of(outcome.errors).to_string();
  std::vector<std::optional<ModelSpec>> specs;
  for (const ModelConfig& model : outcome.config.models) {
    specs.emplace_back();
    if (model.file.empty()) continue;
    const auto known = plannable_model(model.file.substr(0, model.file.find(' ')),
                                       model.file.substr(model.file.find(' ') + 1));
    EXPECT_TRUE(known.ok()) << model.file;
    specs.back() = known->spec;
  }
  auto placement = place_fleet(outcome.config, machine, specs);
  EXPECT_TRUE(placement.ok()) << placement.error().to_string();
  // Memory, to the byte, whatever was placed.
  std::vector<std::int64_t> resident(placement->pools.size(), 0);
  for (const ModelPlacement& model : placement->models) {
    for (const ReplicaPlacement& replica : model.replicas) {
      std::vector<std::int64_t> sum(placement->pools.size(), 0);
      sum.back() += kWorkerProcessBytes;
      for (const DeviceUse& share : replica.shares) sum[share.pool] += share.total_bytes();
      EXPECT_EQ(sum, replica.pool_bytes);
      for (std::size_t pool = 0; pool < sum.size(); ++pool) {
        EXPECT_LE(sum[pool], placement->pools[pool].usable_bytes());
        if (model.is_resident) resident[pool] += sum[pool];
      }
    }
  }
  for (std::size_t pool = 0; pool < resident.size(); ++pool) {
    EXPECT_LE(resident[pool], placement->pools[pool].usable_bytes());
  }
  return *placement;
}

std::string model(const std::string& name, const std::string& file, const std::string& more = "") {
  return "[[model]]\nname = \"" + name + "\"\nfile = \"" + file + "\"\n" + more + "\n";
}

std::string devices_of(const FleetPlacement& placement, const std::string& name,
                       std::size_t replica = 0) {
  const ModelPlacement* found = placement.find(name);
  if (found == nullptr || found->replicas.size() <= replica) return "none";
  return found->replicas[replica].device_list();
}

TEST(Placement, TwoModelsGetAGpuEach) {
  const auto placement =
      place(model("a", "llama-3-8b q4_k_m") + model("b", "llama-3-8b q4_k_m"), gpus("2x RTX 3090"));
  EXPECT_TRUE(placement.fits());
  EXPECT_NE(devices_of(placement, "a"), devices_of(placement, "b"));
  EXPECT_TRUE(placement.is_optimal);
}

TEST(Placement, TwoModelsShareAGpuWithAProcessEach) {
  const auto placement =
      place(model("a", "llama-3-8b q4_k_m") + model("b", "llama-3-8b q4_k_m"), gpus("1x RTX 3090"));
  ASSERT_TRUE(placement.fits());
  for (const char* name : {"a", "b"}) {
    const ReplicaPlacement& replica = placement.find(name)->replicas.at(0);
    EXPECT_EQ(replica.device_list(), "cuda:0");
    EXPECT_EQ(replica.shares[0].process_bytes, 512 * kMiB) << "a driver's context each";
    EXPECT_THAT(replica.gpus, ElementsAre(0));
    EXPECT_THAT(replica.cores, IsEmpty());
    EXPECT_EQ(replica.shares[0].weights_bytes, replica.plan->stages[0].ranks[0].weights_bytes);
  }
}

TEST(Placement, ALargeModelIsSplitAndASmallOneLiesBesideIt) {
  const auto placement =
      place(model("large", "llama-3-70b q4_k_m", "parallel = 1\ncontext = 2048") +
                model("small", "llama-3-8b q4_k_m", "parallel = 1\ncontext = 2048"),
            gpus("3x RTX 3090"));
  ASSERT_TRUE(placement.fits()) << placement_text(placement);
  EXPECT_GE(placement.find("large")->replicas[0].shares.size(), 2u);
  EXPECT_EQ(placement.find("small")->replicas[0].shares.size(), 1u);
}

TEST(Placement, NamedDevicesAreObeyed) {
  const auto placement = place(model("a", "llama-3-8b q4_k_m", "devices = [\"cuda:1\"]") +
                                   model("b", "llama-3-8b q4_k_m", "devices = [\"cuda:1\"]"),
                               gpus("2x RTX 3090"));
  EXPECT_EQ(devices_of(placement, "a"), "cuda:1");
  EXPECT_EQ(devices_of(placement, "b"), "cuda:1");
  EXPECT_THAT(placement.find("b")->replicas[0].gpus, ElementsAre(1));
}

TEST(Placement, NamedPairsAreSplitAsAsked) {
  const auto placement =
      place(model("a", "llama-3-8b q4_k_m",
                  "devices = [\"cuda:0\", \"cuda:1\"]\nsplit = \"tensor\"\nshares = [3, 1]"),
            gpus("2x RTX 3090"));
  const ReplicaPlacement& replica = placement.find("a")->replicas.at(0);
  EXPECT_EQ(replica.plan->split, SplitMode::kTensor);
  EXPECT_GT(replica.shares[0].weights_bytes, 2 * replica.shares[1].weights_bytes);
}

TEST(Placement, ReplicasAreDividedOverDevices) {
  const auto placement =
      place(model("a", "llama-3-8b q4_k_m", "replicas = 2"), gpus("2x RTX 3090"));
  EXPECT_THAT((std::vector{devices_of(placement, "a", 0), devices_of(placement, "a", 1)}),
              ::testing::UnorderedElementsAre("cuda:0", "cuda:1"));
}

TEST(Placement, AutoReplicasFillTheMachine) {
  const auto placement =
      place(model("a", "llama-3-8b q4_k_m", "replicas = \"auto\"\nsplit = \"none\""),
            gpus("4x RTX 3090"));
  EXPECT_EQ(placement.find("a")->replicas.size(), 4u) << placement_text(placement);
}

TEST(Placement, OnDemandModelsShareTheRoom) {
  const std::string big = "llama-3-8b q8_0";
  const auto placement = place(model("a", big) + model("b", big, "load = \"on-demand\"") +
                                   model("c", big, "load = \"on-demand\""),
                               gpus("1x RTX 3090"));
  ASSERT_TRUE(placement.fits()) << placement_text(placement);
  EXPECT_TRUE(placement.find("a")->is_resident);
  EXPECT_FALSE(placement.find("b")->fits_beside_residents);
}

TEST(Placement, WhatDoesNotFitSaysWhatWould) {
  const std::string big = "llama-3-8b q8_0";
  const auto placement = place(model("a", big) + model("b", big), gpus("1x RTX 3090"));
  EXPECT_FALSE(placement.fits());
  const ModelPlacement& b = *placement.find("b");
  EXPECT_EQ(b.num_missing, 1);
  EXPECT_THAT(b.why_not, HasSubstr("not beside a"));
  EXPECT_THAT(b.would_fit, ::testing::Contains(HasSubstr("on-demand")));
  EXPECT_THAT(placement_text(placement), HasSubstr("!  b does not fit"));
}

TEST(Placement, WhatFitsNowhereSaysByHowMuch) {
  const auto placement =
      place(model("a", "llama-3-70b q4_k_m", "split = \"none\""), gpus("2x RTX 3090"));
  EXPECT_FALSE(placement.fits());
  EXPECT_THAT(placement.find("a")->why_not, HasSubstr("too little"));
}

TEST(Placement, ASmallerContextThatFitsIsNamed) {
  const auto placement =
      place(model("a", "llama-3-8b q4_k_m", "split = \"none\"\ncontext = 8192\nparallel = 64"),
            gpus("1x RTX 3090"));
  EXPECT_FALSE(placement.fits());
  EXPECT_THAT(placement.find("a")->would_fit, ::testing::Contains(HasSubstr("parallel = ")));
}

TEST(Placement, TwoModelsOnTwoCores) {
  const std::string devices = "devices = [\"cpu:";
  const auto placement = place(model("a", "llama-3.2-1b q4_k_m", devices + "0\"]") +
                                   model("b", "llama-3.2-1b q4_k_m", devices + "1\"]"),
                               two_cores());
  ASSERT_TRUE(placement.fits()) << placement_text(placement);
  EXPECT_THAT(placement.find("b")->replicas[0].cores, ElementsAre(1));
  EXPECT_THAT(placement.find("b")->replicas[0].gpus, IsEmpty());
  EXPECT_EQ(placement.pools.size(), 1u) << "cores of one host share its memory";
}

TEST(Placement, ExternalWorkersArePlacedByTheirMemory) {
  const std::string worker = "[[worker]]\nname = \"vllm\"\ncommand = [\"vllm\", \"{port}\"]\n";
  const auto placement = place(
      worker +
          "[[model]]\nname = \"x\"\nworker = \"vllm\"\nmemory = \"20GiB\"\nsplit = \"none\"\n" +
          model("y", "llama-3-8b q8_0"),
      gpus("2x RTX 3090"));
  ASSERT_TRUE(placement.fits()) << placement_text(placement);
  EXPECT_EQ(placement.find("x")->replicas[0].shares[0].process_bytes, 20 * kGiB);
  EXPECT_FALSE(placement.find("x")->replicas[0].plan);
  EXPECT_NE(devices_of(placement, "x"), devices_of(placement, "y"));
}

TEST(Placement, ReservesAreKept) {
  const std::string reserve = "[placement]\ngpu_reserve = \"20GiB\"\n";
  EXPECT_FALSE(place(reserve + model("a", "llama-3-8b q4_k_m"), gpus("1x RTX 3090")).fits());
}

TEST(Placement, DevicesThatAreNotThereAreErrors) {
  const auto outcome =
      parse_fleet_config(model("a", "x", "devices = [\"cuda:7\"]"), "fleet.toml", "");
  const auto spec = plannable_model("llama-3-8b", "q4_k_m");
  const auto placement = place_fleet(outcome.config, gpus("1x RTX 3090"), {spec->spec});
  ASSERT_FALSE(placement.ok());
  EXPECT_TRUE(placement.error().to_string().starts_with("1: [[model]] a: `devices`: "))
      << placement.error().to_string();
  EXPECT_THAT(placement.error().to_string(), HasSubstr("no such GPU"));
}

TEST(Placement, DevicesOfAllThatAreNotThereAreErrorsToo) {
  const auto outcome = parse_fleet_config(
      model("a", "x") + "[placement]\ngpu_reserve = 0\ndevices = [\"cuda:7\"]\n", "fleet.toml", "");
  ASSERT_TRUE(outcome.errors.empty());
  const auto spec = plannable_model("llama-3-8b", "q4_k_m");
  const auto placement = place_fleet(outcome.config, gpus("1x RTX 3090"), {spec->spec});
  ASSERT_FALSE(placement.ok());
  const int line = outcome.config.placement.devices_line.number;
  EXPECT_GT(line, 2);
  EXPECT_THAT(placement.error().to_string(),
              testing::StartsWith(std::to_string(line) + ": [placement]: `devices`: no such GPU"));
}

TEST(Placement, IsTheSameEveryTime) {
  const std::string toml = model("a", "llama-3-8b q4_k_m") +
                           model("b", "llama-3-8b q8_0", "load = \"on-demand\"") +
                           model("c", "llama-3.2-1b q4_k_m", "replicas = 2");
  const Machine machine = gpus("2x RTX 3090 + RTX 4090");
  EXPECT_EQ(to_json(place(toml, machine)), to_json(place(toml, machine)));
}

TEST(Placement, TheTextDrawsEachDevice) {
  const auto placement = place(
      model("a", "llama-3-8b q4_k_m") + model("b", "llama-3-8b q4_k_m", "load = \"on-demand\""),
      gpus("1x RTX 3090"));
  const std::string text = placement_text(placement);
  EXPECT_THAT(text, HasSubstr("cuda:0  RTX 3090, 24.0 GiB\n  [AAAA"));
  EXPECT_THAT(text, HasSubstr("b  b "));
  EXPECT_THAT(text, HasSubstr("reserve 256.0 MiB"));
  const auto json = to_json(placement);
  EXPECT_EQ(json["pools"][0]["name"], "cuda:0");
  EXPECT_EQ(json["models"][0]["memory"]["cuda:0"], placement.find("a")->replicas[0].pool_bytes[0]);
}

}  // namespace
}  // namespace tandem
