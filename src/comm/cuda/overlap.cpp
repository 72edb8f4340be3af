#include "comm/cuda/overlap.h"

#include <algorithm>

#include "base/checked.h"
#include "comm/cuda/side_stream.h"
#include "device/cuda/matmul/product_kernels.h"
#include "device/cuda/matmul/products.h"

namespace tandem::cuda {
namespace {

constexpr std::int64_t kTileRows = kManyRows;
constexpr std::int64_t kTileFeatures = 128;  // of a block of ProductKernels::many
constexpr std::int64_t kLeastPartBytes = std::int64_t{2} << 20;
constexpr std::int64_t kMostParts = 4;
static_assert(kMostParts <= SideStream::kMostOpen);

// Rows that a part should have.
std::int64_t wanted_rows(std::int64_t columns, int num_multiprocessors) {
  const std::int64_t blocks_a_tile = ceil_div(columns, kTileFeatures);
  const std::int64_t tiles = (num_multiprocessors + blocks_a_tile / 2) / blocks_a_tile;
  const std::int64_t row_bytes = columns * static_cast<std::int64_t>(sizeof(float));
  return std::max({tiles * kTileRows, ceil_div(kLeastPartBytes, row_bytes), kManyFrom});
}

}  // namespace

std::int64_t overlapped_rows(std::int64_t rows, std::int64_t columns, const OverlapTerms& terms) {
  if (terms.fixed_rows > 0) {
    return std::max(terms.fixed_rows, ceil_div<std::int64_t>(rows, SideStream::kMostOpen));
  }
  const std::int64_t wanted = wanted_rows(columns, terms.num_multiprocessors);
  for (std::int64_t parts = std::min(kMostParts, (rows + wanted / 2) / wanted); parts > 1;
       --parts) {
    const std::int64_t at_once = align_up(ceil_div(rows, parts), kTileRows);
    const std::int64_t last = rows - (ceil_div(rows, at_once) - 1) * at_once;
    if (std::min(at_once, last) >= kManyFrom) return at_once;
  }
  return rows;
}

}  // namespace tandem::cuda
