#pragma once

#include <cstddef>
#include <cstdint>

#include "device/cpu/instruction_set.h"

// The loops whose speed is the ceiling. Each returns something that depends on all its work.

namespace tandem::ceiling_loops {

// Reads all of `bytes` (a multiple of 4096 * streams) from `streams` (1, 2 or 4) places at a time.
using ReadLoop = std::uint64_t (*)(const std::byte* data, std::int64_t bytes, int streams,
                                   bool prefetch);
// `iterations` times 16 rounds of operations on 8, 10 or 12 independent sums.
using ComputeLoop = std::uint64_t (*)(std::int64_t iterations, int sums);

struct Loops {
  ReadLoop read;
  ComputeLoop int8;
  double int8_ops;  // of one operation on one sum
  ComputeLoop float32;
  double float32_ops;
  ComputeLoop bf16;  // null where there is none
  double bf16_ops;
};
const Loops& loops_for(InstructionSet set);

inline constexpr int kRounds = 16;
inline constexpr std::int64_t kPrefetchBytes = 4096;

std::uint64_t read_avx512(const std::byte* data, std::int64_t bytes, int streams, bool prefetch);
std::uint64_t int8_avx512(std::int64_t iterations, int sums);
std::uint64_t float_avx512(std::int64_t iterations, int sums);
std::uint64_t bf16_avx512(std::int64_t iterations, int sums);
std::uint64_t read_avx2(const std::byte* data, std::int64_t bytes, int streams, bool prefetch);
std::uint64_t int8_avx2(std::int64_t iterations, int sums);
std::uint64_t float_avx2(std::int64_t iterations, int sums);

}  // namespace tandem::ceiling_loops
