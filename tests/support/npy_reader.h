#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/result.h"

namespace tandem::test {

// A float32 matrix read from a .npy file of version 1.0.
struct NpyMatrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<float> values;

  const float* row(std::int64_t index) const { return values.data() + index * columns; }
};

Result<NpyMatrix> read_npy(const std::filesystem::path& path);

}  // namespace tandem::test
