#include "device/cuda/weight_packing.h"

#include <cstring>

#include "base/check.h"
#include "base/checked.h"
#include "device/cuda/matmul/fragment_packing.h"

namespace tandem::cuda {
namespace {

// What the widest load of a kernel needs.
constexpr std::int64_t kRowAlignment = 16;

void pack_fragments(ElementType type, std::int64_t num_rows, std::span<const std::byte> file_rows,
                    std::span<std::byte> packed) {
  const std::int64_t row_bytes = static_cast<std::int64_t>(file_rows.size()) / num_rows;
  const ElementTypeTraits& traits = traits_of(type);
  const std::int64_t columns = row_bytes / traits.block_bytes * traits.block_elements;
  if (num_rows < kGroupRows) std::memset(packed.data(), 0, packed.size());
  const PackJob job =
      pack_job(type, num_rows, columns, reinterpret_cast<const std::uint8_t*>(file_rows.data()),
               reinterpret_cast<std::uint8_t*>(packed.data()));
  for (std::int64_t i = 0; i < num_packed_lanes(job); ++i) pack_lane(job, i);
  for (std::int64_t i = 0; i < num_packed_rows(job); ++i) pack_row_scales(job, i);
}

}  // namespace

WeightPacking fragment_packing_of(ElementType type, std::int64_t rows, std::int64_t columns) {
  WeightPacking packing;
  packing.layout = WeightLayout::kFragments;
  packing.group_rows = kGroupRows;
  packing.row_bytes = fragment_traits(type).group_bytes(columns) / kGroupRows;
  packing.expert_bytes = packed_bytes(type, rows, columns);
  return packing;
}

WeightPacking packing_of(ElementType type, std::int64_t rows, std::int64_t columns,
                         Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kInt8 && type != ElementType::kF32) {
    return fragment_packing_of(type, rows, columns);
  }
  const auto bytes = bytes_of(type, columns);
  TANDEM_CHECK(bytes.has_value(), "a row is a whole number of blocks");
  WeightPacking packing;
  packing.row_bytes = align_up(*bytes, kRowAlignment);
  packing.expert_bytes = packing.row_bytes * rows;
  return packing;
}

void pack_rows(const WeightPacking& packing, ElementType type, std::int64_t num_rows,
               std::span<const std::byte> file_rows, std::span<std::byte> packed) {
  if (packing.layout == WeightLayout::kFragments) {
    return pack_fragments(type, num_rows, file_rows, packed);
  }
  const auto from = file_rows.size() / static_cast<std::size_t>(num_rows);
  const auto to = static_cast<std::size_t>(packing.row_bytes);
  for (std::size_t row = 0; row < static_cast<std::size_t>(num_rows); ++row) {
    std::memcpy(packed.data() + row * to, file_rows.data() + row * from, from);
    std::memset(packed.data() + row * to + from, 0, to - from);
  }
}

}  // namespace tandem::cuda
