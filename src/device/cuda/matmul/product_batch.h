#pragma once

#include <cstdint>

#include "device/cuda/matmul/rounded_x.h"

namespace tandem::cuda {

// One matrix (or stack of experts') in fragment layout and where its results go. By value into
// kernels.
struct ProductTarget {
  const std::uint8_t* weight = nullptr;
  std::int64_t expert_bytes = 0;  // from one expert's matrix to the next
  const float* bias = nullptr;    // [rows] or null
  float* y = nullptr;             // [row of the batch, rows], y_stride floats from row to row
  std::int64_t y_stride = 0;
  std::int32_t rows = 0;
  std::int32_t first_group = 0;  // of the groups of 16 rows of all targets in one launch
};

// Some rows of a batch that take the same expert: pairs order[begin, begin + count).
struct ExpertTile {
  std::int32_t expert = 0;  // of the shard; -1: none of them, the results are zeroes
  std::int32_t begin = 0;
  std::int32_t count = 0;
};

inline constexpr int kMaxTargets = 4;

// Products of one x with up to kMaxTargets weights of one type and one number of columns.
struct ProductBatch {
  ProductTarget targets[kMaxTargets];
  std::int32_t num_targets = 0;
  std::int32_t num_groups = 0;  // of all targets
  std::int32_t num_chunks = 0;  // of x
  std::int64_t group_bytes = 0;
  RoundedX x;
  std::int32_t num_rows = 0;  // of x; unused with experts
  // With experts a row of y is a (token, choice) pair, and its row of x is pair / x_divisor. Either
  // each tile is one pair, whose expert is expert_ids[pair] - first_expert, or tiles (not null) are
  // what group_experts() wrote. All in device memory.
  const std::int32_t* expert_ids = nullptr;
  std::int32_t first_expert = 0;
  std::int32_t num_experts = 0;  // of the shard
  std::int32_t x_divisor = 1;
  const ExpertTile* tiles = nullptr;
  const std::int32_t* num_tiles = nullptr;
  const std::int32_t* order = nullptr;
};

}  // namespace tandem::cuda
