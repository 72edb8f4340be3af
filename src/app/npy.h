#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace tandem {

// Writes a float32 matrix in NumPy's .npy format, version 1.0 (numpy.lib.format). Blocks.
Status write_npy(const std::filesystem::path& path, std::span<const float> values,
                 std::int64_t rows, std::int64_t columns);

}  // namespace tandem
