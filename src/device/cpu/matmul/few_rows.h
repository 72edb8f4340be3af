#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "device/cpu/matmul/matmul_kernels.h"

// Products of many groups with so few rows of x that reading the weights is what takes time. A core
// reads several places of memory faster than one, so the groups are cut into as many runs of equal
// length as the kernel takes groups at a time, and the runs are read side by side:
//
//   run 0: group 0, 1, 2 ...   run 1: group n, n + 1 ...   and so on
//
// What a kernel asks for ahead at the end of a group is then what it reads next.

namespace tandem {

// Groups of 16 rows of a weight, one behind the other.
struct GroupRange {
  ElementType type = ElementType::kF32;
  std::int64_t columns = 0;
  const std::byte* groups = nullptr;
  std::int64_t num_groups = 0;
};

// Up to so many rows of x, unpacking weights in registers again for every kMaxDecodeRows of them is
// cheaper than laying them down for a tile.
inline constexpr std::int64_t kFewRoundedRows = 4 * kMaxDecodeRows;
// Products in float with more rows of x are bound by their arithmetic.
inline constexpr std::int64_t kFewFloatRows = 8;

// Writes sums[panel][row of x][kPanelRows], panels of four groups, the last possibly not whole.
// kernels.decode may not be null; 1 to kFewRoundedRows rows.
void multiply_few_rows(const RoundedKernels& kernels, const GroupRange& range,
                       std::span<const RoundedRow> x, float* sums);
// The same for F32, F16 and BF16 weights, 1 to kFewFloatRows rows; x as FloatTile has it.
void multiply_few_rows(FloatKernel kernel, const GroupRange& range, std::span<const float* const> x,
                       float* sums);

}  // namespace tandem
