#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "device/cuda/cuda_weight.h"

namespace tandem::cuda {

// How a weight is repacked while it is loaded. A layout packs groups of neighbouring rows; the
// last group of an expert may have fewer.
struct WeightPacking {
  WeightLayout layout = WeightLayout::kFileRows;
  std::int64_t group_rows = 1;
  std::int64_t row_bytes = 0;     // of WeightView
  std::int64_t expert_bytes = 0;  // all groups of an expert
};

// Chooses the layout that the kernels want for a matrix.
// columns: a whole number of blocks of `type`.
WeightPacking packing_of(ElementType type, std::int64_t rows, std::int64_t columns,
                         Arithmetic arithmetic);

// The layout of tensor/fragment_layout.h; F32 has none.
WeightPacking fragment_packing_of(ElementType type, std::int64_t rows, std::int64_t columns);

// Packs one group. file_rows: num_rows rows of the file, one after another.
// packed: group_rows * row_bytes bytes; bytes that no row fills are set to zero.
void pack_rows(const WeightPacking& packing, ElementType type, std::int64_t num_rows,
               std::span<const std::byte> file_rows, std::span<std::byte> packed);

}  // namespace tandem::cuda
