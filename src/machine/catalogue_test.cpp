#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/units.h"
#include "machine/cpu_catalogue.h"
#include "machine/gpu_catalogue.h"
#include "machine/gpu_ids.h"

namespace tandem {
namespace {

std::string gpu(std::string_view name, std::optional<std::int64_t> memory_bytes = std::nullopt) {
  const GpuModel* model = find_gpu_model(name, memory_bytes);
  return model == nullptr ? "none" : model->name;
}

std::string cpu(std::string_view model) {
  const CpuFamily* family = find_cpu_family(model);
  return family == nullptr ? "none" : family->family;
}

TEST(GpuCatalogue, DriversNamesAndPeoplesNames) {
  EXPECT_EQ(gpu("NVIDIA GeForce RTX 3090"), "RTX 3090");
  EXPECT_EQ(gpu("rtx-3090"), "RTX 3090");
  EXPECT_EQ(gpu("RTX 3090 Ti"), "RTX 3090 Ti");
  EXPECT_EQ(gpu("NVIDIA A100-SXM4-80GB"), "A100 SXM 80GB");
  EXPECT_EQ(gpu("NVIDIA A100-SXM4-40GB"), "A100 SXM 40GB");
  EXPECT_EQ(gpu("NVIDIA RTX 6000 Ada Generation"), "RTX 6000 Ada");
  EXPECT_EQ(gpu("NVIDIA H100 80GB HBM3"), "H100 SXM 80GB");
  EXPECT_EQ(gpu("Matrox G200"), "none");
  EXPECT_EQ(gpu(""), "none");
}

TEST(GpuCatalogue, MemoryTellsModelsOfOneNameApart) {
  EXPECT_EQ(gpu("NVIDIA GeForce RTX 3080", 10240 * kMiB), "RTX 3080 10GB");
  EXPECT_EQ(gpu("NVIDIA GeForce RTX 3090", 24576 * kMiB), "RTX 3090");
  EXPECT_EQ(gpu("NVIDIA GeForce RTX 3060", 6 * kGiB), "none");
}

TEST(GpuCatalogue, EveryEntryIsSane) {
  ASSERT_GT(gpu_catalogue().size(), 50U);
  for (const GpuModel& model : gpu_catalogue()) {
    EXPECT_FALSE(model.source.empty()) << model.name;
    EXPECT_FALSE(model.memory_bytes.empty()) << model.name;
    EXPECT_GT(model.bandwidth_gbps.value_or(0), 100) << model.name;
    EXPECT_LE(model.pcie_generation.value_or(1), 6) << model.name;
    EXPECT_EQ(gpu(model.name, model.memory_bytes.front()), model.name);
  }
}

TEST(GpuCatalogue, AFileThatIsWrongSaysWhere) {
  const auto missing = parse_gpu_catalogue(R"({"gpus":[{"power_w":3}]})", "mine.json");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().to_string(), ::testing::HasSubstr("mine.json: gpus[0].name"));
  EXPECT_FALSE(parse_gpu_catalogue("[", "mine.json").ok());
  EXPECT_FALSE(parse_gpu_catalogue("{}", "mine.json").ok());
}

TEST(GpuIds, NameCardsOfTheCatalogue) {
  EXPECT_EQ(gpu_name_by_id(0x10de, 0x2684), "RTX 4090");
  EXPECT_EQ(gpu_name_by_id(0x10de, 0xffff), std::nullopt);
  for (int id = 0; id <= 0xffff; ++id) {
    for (const int vendor : {0x10de, 0x1002, 0x8086}) {
      const auto name =
          gpu_name_by_id(static_cast<std::uint16_t>(vendor), static_cast<std::uint16_t>(id));
      EXPECT_TRUE(!name || gpu(*name) != "none") << *name;
    }
  }
}

TEST(CpuCatalogue, KnowsCommonModels) {
  EXPECT_EQ(cpu("AMD Ryzen 9 5950X 16-Core Processor"), "Ryzen 3000/5000 (AM4)");
  EXPECT_EQ(cpu("AMD Ryzen 7 5700G with Radeon Graphics"), "Ryzen 4000G/5000G (AM4)");
  EXPECT_EQ(cpu("AMD Ryzen 9 7950X 16-Core Processor"), "Ryzen 7000/9000 (AM5)");
  EXPECT_EQ(cpu("AMD Ryzen Threadripper PRO 7965WX 24-Cores"), "Threadripper PRO 7000/9000 WX");
  EXPECT_EQ(cpu("AMD Ryzen Threadripper 7960X 24-Cores"), "Threadripper 7000/9000");
  EXPECT_EQ(cpu("AMD EPYC 7763 64-Core Processor"), "EPYC 7002/7003");
  EXPECT_EQ(cpu("AMD EPYC 9654 96-Core Processor"), "EPYC 9004/9005");
  EXPECT_EQ(cpu("13th Gen Intel(R) Core(TM) i9-13900K"), "Core 12th to 14th generation");
  EXPECT_EQ(cpu("Intel(R) Core(TM) i7-6700K CPU @ 4.00GHz"), "Core 4th to 10th generation");
  EXPECT_EQ(cpu("Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz"), "Core X and Xeon E5 (LGA 2011)");
  EXPECT_EQ(cpu("Intel(R) Xeon(R) Platinum 8480+"), "Xeon Scalable, 4th and 5th generation");
  EXPECT_EQ(cpu("Intel(R) Xeon(R) w9-3495X"), "Xeon W-3400/3500");
  EXPECT_EQ(cpu("POWER9"), "none");
}

TEST(CpuCatalogue, EveryFamilyIsSane) {
  for (const CpuFamily& family : cpu_catalogue()) {
    EXPECT_FALSE(family.source.empty()) << family.family;
    EXPECT_GE(family.lanes, 16) << family.family;
    EXPECT_LE(family.graphics_lanes, family.lanes) << family.family;
    EXPECT_GE(family.generation, 3) << family.family;
    EXPECT_GE(family.channels, 2) << family.family;
  }
}

TEST(Pattern, StarsAndQuestionMarks) {
  EXPECT_TRUE(matches_pattern("abc", "*B*"));
  EXPECT_TRUE(matches_pattern("abc", "a?c"));
  EXPECT_TRUE(matches_pattern("", "*"));
  EXPECT_FALSE(matches_pattern("abc", "a?"));
  EXPECT_FALSE(matches_pattern("", "?"));
  EXPECT_TRUE(matches_pattern("aXbXc", "a*X*c"));
}

}  // namespace
}  // namespace tandem
