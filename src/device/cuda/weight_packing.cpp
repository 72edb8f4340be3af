#include "device/cuda/weight_packing.h"

#include <cstring>

#include "base/check.h"
#include "base/checked.h"

namespace tandem::cuda {
namespace {

// What the widest load of a kernel needs.
constexpr std::int64_t kRowAlignment = 16;

}  // namespace

WeightPacking packing_of(ElementType type, std::int64_t rows, std::int64_t columns, Arithmetic) {
  const auto bytes = bytes_of(type, columns);
  TANDEM_CHECK(bytes.has_value(), "a row is a whole number of blocks");
  WeightPacking packing;
  packing.row_bytes = align_up(*bytes, kRowAlignment);
  packing.expert_bytes = packing.row_bytes * rows;
  return packing;
}

void pack_rows(const WeightPacking& packing, ElementType, std::int64_t num_rows,
               std::span<const std::byte> file_rows, std::span<std::byte> packed) {
  const auto from = file_rows.size() / static_cast<std::size_t>(num_rows);
  const auto to = static_cast<std::size_t>(packing.row_bytes);
  for (std::size_t row = 0; row < static_cast<std::size_t>(num_rows); ++row) {
    std::memcpy(packed.data() + row * to, file_rows.data() + row * from, from);
    std::memset(packed.data() + row * to + from, 0, to - from);
  }
}

}  // namespace tandem::cuda
