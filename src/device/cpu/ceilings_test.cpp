#include "device/cpu/ceilings.h"

#include <gtest/gtest.h>

#include <vector>

#include "device/cpu/ceiling_loops.h"

namespace tandem {
namespace {

// Rates themselves are the machine's; here only that every loop does its work and none is left out
// by the compiler: reading memory cannot be faster than 2 TB/s, nor a core do 100 Tops.
TEST(Ceilings, AreMeasuredForEveryInstructionSet) {
  ThreadPool pool({0}, false);
  CeilingOptions options;
  options.read_bytes = 4 << 20;
  options.seconds_each = 0.001;
  options.rounds = 1;
  for (const auto set :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (set > best_instruction_set()) continue;
    const Ceilings ceilings = measure_cpu_ceilings(pool, set, options);
    EXPECT_GT(ceilings.read_gbps, 0.1) << name_of(set);
    EXPECT_LT(ceilings.read_gbps, 2000) << name_of(set);
    EXPECT_FALSE(ceilings.read_pattern.empty());
    EXPECT_GT(ceilings.int8_gops, 0.1) << name_of(set);
    EXPECT_LT(ceilings.int8_gops, 100000) << name_of(set);
    EXPECT_GT(ceilings.float_gflops, 0.1) << name_of(set);
    EXPECT_LT(ceilings.float_gflops, ceilings.int8_gops * 4) << name_of(set);
    const bool bf16 = set == InstructionSet::kAvx512 && has_avx512_bf16();
    EXPECT_EQ(ceilings.bf16_gflops > 0, bf16) << name_of(set);
  }
}

TEST(Ceilings, ScatterIsToldAndEndsWithTheMostRounds) {
  ThreadPool pool({0}, false);
  CeilingOptions options;
  options.read_bytes = 1 << 20;
  options.seconds_each = 1e-6;
  options.rounds = 2;
  options.most_rounds = 4;
  const Ceilings ceilings = measure_cpu_ceilings(pool, InstructionSet::kPortable, options);
  EXPECT_GT(ceilings.spread, 0.0);  // two rounds never take the same time to the nanosecond
  EXPECT_LT(ceilings.spread, 1.0);
}

TEST(Ceilings, TheLargerOfBothCounts) {
  Ceilings one{.read_gbps = 30, .read_pattern = "1 stream", .int8_gops = 900, .bf16_gflops = 0};
  one.raise({.read_gbps = 40, .read_pattern = "4 streams", .int8_gops = 800, .bf16_gflops = 400});
  EXPECT_EQ(one.read_gbps, 40);
  EXPECT_EQ(one.read_pattern, "4 streams");
  EXPECT_EQ(one.int8_gops, 900);
  EXPECT_EQ(one.bf16_gflops, 400);
}

// A pattern that is once quick by chance is not what memory gives.
TEST(Ceilings, TypicalIsTheBestPatternsMedian) {
  const std::vector<std::vector<double>> looks = {{30, 38}, {45, 36}, {31, 37}};
  EXPECT_EQ(typical_read_gbps(looks), 37);
  EXPECT_EQ(typical_read_gbps({}), 0);
  const std::vector<std::vector<double>> without_memory = {{}, {}};
  EXPECT_EQ(typical_read_gbps(without_memory), 0);
}

// A loop that skipped part of the memory would flatter the ceiling.
TEST(Ceilings, ReadLoopsReadEveryByte) {
  alignas(64) static std::byte memory[16384];
  for (const auto set :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (set > best_instruction_set()) continue;
    const auto& loops = ceiling_loops::loops_for(set);
    for (const int streams : {1, 2, 4}) {
      const std::uint64_t zeroes = loops.read(memory, sizeof(memory), streams, true);
      for (std::size_t at = 0; at < sizeof(memory); at += 64) {
        memory[at] = std::byte{1};
        EXPECT_NE(loops.read(memory, sizeof(memory), streams, true), zeroes)
            << streams << " " << at;
        memory[at] = std::byte{0};
      }
    }
  }
}

}  // namespace
}  // namespace tandem
