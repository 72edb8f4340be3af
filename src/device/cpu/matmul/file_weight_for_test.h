#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include "device/cpu/instruction_set.h"
#include "device/device.h"
#include "tensor/block_codes.h"
#include "tensor/half.h"
#include "tensor/quantise.h"

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

// A stack of matrices in the blocks of a file.
struct FileWeight {
  ElementType type;
  std::int64_t experts;
  std::int64_t rows;
  std::int64_t columns;
  std::vector<std::byte> bytes;
  std::vector<float> values;

  FileWeight(ElementType t, std::int64_t e, std::int64_t r, std::int64_t c, unsigned seed = 1)
      : type(t), experts(e), rows(r), columns(c) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.02f, 0.3f);
    values.resize(static_cast<std::size_t>(e * r * c));
    for (float& value : values) value = normal(random);
    bytes.resize(static_cast<std::size_t>(e * r * row_bytes()));
    quantise(type, values, bytes);
    dequantise(type, bytes, values);
  }
  std::int64_t row_bytes() const { return *bytes_of(type, columns); }
  const float* row(std::int64_t expert, std::int64_t index) const {
    return values.data() + (expert * rows + index) * columns;
  }
  // The largest number that is added to or subtracted from the values of a row's sub-blocks.
  double largest_shift(std::int64_t expert, std::int64_t index) const {
    const BlockScheme* scheme = block_scheme_of(type);
    if (scheme == nullptr) return 0;
    double largest = 0;
    const ElementTypeTraits& traits = traits_of(type);
    for (std::int64_t b = 0; b < columns / traits.block_elements; ++b) {
      BlockCodes codes = {};
      unpack_block(type,
                   bytes.data() + (expert * rows + index) * row_bytes() + b * traits.block_bytes,
                   codes);
      const double dmin = std::fabs(float_from_f16(codes.dmin));
      if (scheme->scale_form == ScaleForm::kHalfWithMin) largest = std::max(largest, dmin);
      if (scheme->scale_form != ScaleForm::kSuperWithMin) continue;
      for (const std::uint8_t min : codes.mins) largest = std::max(largest, dmin * min);
    }
    return largest;
  }
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
