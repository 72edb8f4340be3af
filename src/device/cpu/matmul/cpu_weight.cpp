#include "device/cpu/matmul/cpu_weight.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/checked.h"
#include "base/units.h"
#include "device/cpu/matmul/packed_layout.h"

namespace tandem {
namespace {

// Rows whose bytes are taken together, and reported done together.
constexpr std::int64_t kTileRows = 64;

std::optional<std::int64_t> expert_bytes_of(const WeightSource& source, WeightLayout layout) {
  if (layout == WeightLayout::kFileRows) {
    return checked_mul(source.rows, *bytes_of(source.type, source.columns));
  }
  return checked_mul(ceil_div<std::int64_t>(source.rows, kGroupRows),
                     packed_group_bytes(source.type, source.columns));
}

void copy_row(const WeightSource& source, std::int64_t expert, std::int64_t row, std::byte* to) {
  const std::span<const std::byte> bytes = source.row_bytes(expert, row);
  TANDEM_CHECK(static_cast<std::int64_t>(bytes.size()) == *bytes_of(source.type, source.columns),
               "a source delivers whole rows");
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
}

struct Rows {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Rows of one expert, where they belong in `weight`. `scratch` holds the 16 rows of a group: a row
// is the source's only until the next is asked for.
void load_rows(const WeightSource& source, std::int64_t expert, Rows all, InstructionSet set,
               std::vector<std::byte>& scratch, CpuWeight& weight) {
  const std::int64_t row_bytes = *bytes_of(source.type, source.columns);
  if (weight.layout() == WeightLayout::kFileRows) {
    for (std::int64_t row = all.begin; row < all.end; ++row) {
      copy_row(source, expert, row, weight.expert(expert) + row * row_bytes);
    }
    return;
  }
  // Not a power of two apart: packing takes from all rows at once, and they would share a set of
  // the cache.
  const std::int64_t stride = align_up<std::int64_t>(row_bytes, 64) + 64;
  scratch.resize(static_cast<std::size_t>(kGroupRows * stride));
  const std::int64_t group_bytes = packed_group_bytes(source.type, source.columns);
  for (std::int64_t first = all.begin; first < all.end; first += kGroupRows) {
    std::array<const std::byte*, kGroupRows> rows;
    const auto count =
        static_cast<std::size_t>(std::min<std::int64_t>(kGroupRows, all.end - first));
    for (std::size_t i = 0; i < count; ++i) {
      std::byte* row = scratch.data() + static_cast<std::int64_t>(i) * stride;
      copy_row(source, expert, first + static_cast<std::int64_t>(i), row);
      rows[i] = row;
    }
    pack_group(source.type, source.columns, std::span(rows.data(), count),
               weight.expert(expert) + first / kGroupRows * group_bytes, set);
  }
}

Status check_source(const WeightSource& source) {
  if (source.type == ElementType::kI32) {
    return unsupported("weight", "integers have no matrix products", "a type of weights",
                       std::string(traits_of(source.type).name));
  }
  if (source.rows < 0 || source.num_experts < 0 || source.columns < 0 ||
      !bytes_of(source.type, source.columns)) {
    return invalid_argument(
        "the columns of a weight are no whole number of blocks",
        "a multiple of " + std::to_string(traits_of(source.type).block_elements),
        std::to_string(source.columns));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<CpuWeight>> CpuWeight::allocate(const Shape& shape, WeightLayout layout,
                                                       std::int64_t expert_bytes,
                                                       WeightArena& arena) {
  // Experts start on cache lines.
  const auto padded = checked_add<std::int64_t>(expert_bytes, 63);
  const auto total = padded ? checked_mul(*padded / 64 * 64, shape.num_experts) : std::nullopt;
  std::unique_ptr<CpuWeight> weight(new CpuWeight(shape, layout));
  if (!total) {
    return Error{ErrorCode::kOutOfMemory,
                 "no memory for a weight",
                 "host",
                 "more than can be addressed",
                 {}};
  }
  if (*total == 0) return weight;
  TANDEM_TRY(WeightArena::Piece piece, arena.allocate(*total));
  weight->data_ = piece.data;
  weight->memory_ = std::move(piece.memory);
  weight->size_bytes_ = *total;
  weight->expert_bytes_ = *padded / 64 * 64;
  return weight;
}

Result<std::unique_ptr<Weight>> load_cpu_weight(const WeightSource& source, ThreadPool& pool,
                                                Arithmetic arithmetic, InstructionSet set,
                                                WeightArena& arena) {
  TANDEM_TRY_STATUS(check_source(source));
  const WeightLayout layout =
      arithmetic == Arithmetic::kFloat ? WeightLayout::kFileRows : WeightLayout::kInterleaved16;
  const auto expert_bytes = expert_bytes_of(source, layout);
  const CpuWeight::Shape shape{source.type, source.num_experts, source.rows, source.columns};
  TANDEM_TRY(
      auto weight,
      CpuWeight::allocate(shape, layout,
                          expert_bytes.value_or(std::numeric_limits<std::int64_t>::max()), arena));
  if (weight->size_bytes() == 0) return std::unique_ptr<Weight>(std::move(weight));

  const std::int64_t tiles_an_expert = ceil_div(source.rows, kTileRows);
  const std::int64_t num_tiles = tiles_an_expert * source.num_experts;
  std::atomic<std::int64_t> next_tile{0};
  pool.parallel([&](int) {
    std::vector<std::byte> scratch;
    for (std::int64_t tile; (tile = next_tile.fetch_add(1)) < num_tiles;) {
      const std::int64_t expert = tile / tiles_an_expert;
      const std::int64_t begin = tile % tiles_an_expert * kTileRows;
      const std::int64_t end = std::min(begin + kTileRows, source.rows);
      load_rows(source, expert, {begin, end}, set, scratch, *weight);
      if (source.rows_done) source.rows_done(expert, begin, end);
    }
  });
  return std::unique_ptr<Weight>(std::move(weight));
}

}  // namespace tandem
