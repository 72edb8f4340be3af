#include "device/cpu/matmul/file_rows.h"

#include <algorithm>

#include "tensor/quantise.h"

namespace tandem {

void dequantise_row(ElementType type, const std::byte* rows, std::int64_t row,
                    std::span<float> values) {
  const std::int64_t row_bytes = *bytes_of(type, static_cast<std::int64_t>(values.size()));
  dequantise(type, {rows + row * row_bytes, static_cast<std::size_t>(row_bytes)}, values);
}

double dot(const float* a, const float* b, std::int64_t count) {
  double total = 0.0;
  for (std::int64_t begin = 0; begin < count; begin += 256) {
    const std::int64_t end = std::min(begin + 256, count);
    float partial[16] = {};
    std::int64_t i = begin;
    for (; i + 16 <= end; i += 16) {
      for (int lane = 0; lane < 16; ++lane) partial[lane] += a[i + lane] * b[i + lane];
    }
    for (; i < end; ++i) partial[i % 16] += a[i] * b[i];
    for (const float sum : partial) total += static_cast<double>(sum);
  }
  return total;
}

}  // namespace tandem
