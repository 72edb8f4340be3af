#pragma once

#include <span>
#include <vector>

#include "device/cpu/instruction_set.h"
#include "device/device.h"
#include "tensor/products_for_test.h"

namespace tandem {

inline std::vector<InstructionSet> available_sets() {
  std::vector<InstructionSet> sets;
  for (const auto set :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (set <= best_instruction_set()) sets.push_back(set);
  }
  return sets;
}

inline std::vector<ElementType> weight_types(bool only_quantised) {
  std::vector<ElementType> types;
  for (const ElementTypeTraits& traits : all_element_types()) {
    if (traits.type == ElementType::kI32) continue;
    if (traits.is_quantised || !only_quantised) types.push_back(traits.type);
  }
  return types;
}

// Matrices as a device loads them.
struct FileWeight : FileMatrices {
  using FileMatrices::FileMatrices;
  WeightSource source() const {
    WeightSource result;
    result.type = type;
    result.num_experts = experts;
    result.rows = rows;
    result.columns = columns;
    result.row_bytes = [this](std::int64_t expert, std::int64_t index) {
      return std::span(bytes).subspan(
          static_cast<std::size_t>((expert * rows + index) * row_bytes()),
          static_cast<std::size_t>(row_bytes()));
    };
    return result;
  }
};

}  // namespace tandem
