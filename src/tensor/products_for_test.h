#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "tensor/block_codes.h"
#include "tensor/half.h"
#include "tensor/quantise.h"

// What tests of matrix products, on whatever device, multiply.

namespace tandem {

inline constexpr double kEps = 0x1p-24;  // half a unit in the last place of a float, relative

inline std::vector<float> gaussian(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

// Numbers that eight bits (and halves) hold without rounding: in each block of 32, integers of up
// to 127 times a power of two, one of them 127.
inline std::vector<float> representable(std::int64_t rows, std::int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> x(static_cast<std::size_t>(rows * columns));
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    const std::int64_t column = i % columns;
    const int shrink = static_cast<int>((i / columns + column / 32) % 6);
    const int code = column % 32 == 0 ? 127 : static_cast<int>(random() % 255) - 127;
    x[static_cast<std::size_t>(i)] = std::ldexp(static_cast<float>(code), -shrink);
  }
  return x;
}

// A stack of matrices of random numbers, in the blocks of a file.
struct FileMatrices {
  ElementType type;
  std::int64_t experts;
  std::int64_t rows;
  std::int64_t columns;
  std::vector<std::byte> bytes;
  std::vector<float> values;

  FileMatrices(ElementType t, std::int64_t e, std::int64_t r, std::int64_t c, unsigned seed = 1)
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
};

}  // namespace tandem
