#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/element_type.h"

// The products of Arithmetic::kFloat: exact dequantisation and float32 activations on any x86-64,
// the reference to which the fast kernels are held.

namespace tandem {

// Row `row` of a matrix in the file's blocks, `values.size()` columns wide.
void dequantise_row(ElementType type, const std::byte* rows, std::int64_t row,
                    std::span<float> values);

// Sums of 256 products in float32, spread over 16 partial sums; those sums in double.
double dot(const float* a, const float* b, std::int64_t count);

}  // namespace tandem
