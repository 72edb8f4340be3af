#include <bit>
#include <cmath>
#include <cstring>

#include "device/cpu/matmul/matmul_kernels.h"
#include "tensor/half.h"

namespace tandem::portable {
namespace {

// The products of one sub-block of 16 rows, as floats.
void dot_sub_block(const std::uint8_t (*quads)[kQuadBytes], const std::int8_t* codes, int num_quads,
                   std::int32_t start, float* dots) {
  std::int32_t sums[kGroupRows];
  for (std::int32_t& sum : sums) sum = start;
  for (int quad = 0; quad < num_quads; ++quad) {
    const std::int8_t* a = codes + 4 * quad;
    for (int row = 0; row < kGroupRows; ++row) {
      const std::uint8_t* w = quads[quad] + 4 * row;
      sums[row] += w[0] * a[0] + w[1] * a[1] + w[2] * a[2] + w[3] * a[3];
    }
  }
  for (int row = 0; row < kGroupRows; ++row) dots[row] = std::bit_cast<float>(sums[row]) - kRounder;
}

std::int32_t dot_pairs(std::uint32_t a, std::uint32_t b) {
  const auto low = [](std::uint32_t pair) { return static_cast<std::int16_t>(pair & 0xffff); };
  const auto high = [](std::uint32_t pair) { return static_cast<std::int16_t>(pair >> 16); };
  return low(a) * low(b) + high(a) * high(b);
}

void subtract_mins(const PackedTraits& traits, const PanelChunk& panel, const RoundedChunk& x,
                   float* sums) {
  const bool narrow = traits.sub_block == 16;
  const std::uint32_t* pairs = narrow ? x.sum_pairs_16 : x.sum_pairs_32;
  const float scale = narrow ? x.pair_scale_16 : x.pair_scale_32;
  for (int row = 0; row < kGroupRows; ++row) {
    std::int32_t sum = 0;
    for (int p = 0; p < (narrow ? 8 : 4); ++p) sum += dot_pairs(panel.min_pairs[p][row], pairs[p]);
    sums[row] = std::fma(static_cast<float>(sum) * panel.min_scale[row], scale, sums[row]);
  }
}

void tile_row(const RoundedKernels::Tile& tile, const PanelChunk& panel, const RoundedRow& x,
              float* sums) {
  const RoundedChunk& chunk = x.chunk(tile.chunk_index);
  const std::int32_t* starts = x.start(tile.chunk_index);
  const int sub_block = tile.traits.sub_block;
  const int num_quads = sub_block / 4;
  const int subs = 32 / sub_block;
  float dots[kGroupRows];
  float u[kGroupRows];
  for (int b = 0; b < tile.num_blocks; ++b) {
    for (int s = 0; s < subs; ++s) {
      const int j = b * subs + s;
      dot_sub_block(panel.levels[b] + s * num_quads, chunk.codes + sub_block * j, num_quads,
                    starts[j], dots);
      for (int row = 0; row < kGroupRows; ++row) {
        const float scale = panel.scales[j][row];
        u[row] = s == 0 ? dots[row] * scale : std::fma(dots[row], scale, u[row]);
      }
    }
    for (int row = 0; row < kGroupRows; ++row) {
      sums[row] = std::fma(u[row], chunk.scales[b], sums[row]);
      if (tile.traits.form == ScaleForm::kHalfWithMin) {
        sums[row] = std::fma(chunk.sums[b], panel.shifts[b][row], sums[row]);
      }
    }
  }
  if (tile.traits.form == ScaleForm::kSuperWithMin) subtract_mins(tile.traits, panel, chunk, sums);
}

float weight_at(const FloatTile& tile, const std::byte* group, std::int64_t column, int row) {
  if (tile.type == ElementType::kF32) {
    float value;
    std::memcpy(&value, group + 4 * (column * kGroupRows + row), 4);
    return value;
  }
  const bool bf16 = tile.type == ElementType::kBF16;
  const std::int64_t index =
      bf16 ? 2 * (column / 2 * kGroupRows + row) + column % 2 : column * kGroupRows + row;
  std::uint16_t bits;
  std::memcpy(&bits, group + 2 * index, 2);
  return bf16 ? float_from_bf16(bits) : float_from_f16(bits);
}

}  // namespace

void tile(const RoundedKernels::Tile& tile) {
  for (std::int64_t i = 0; i < tile.num_rows; ++i) {
    for (int g = 0; g < tile.num_groups; ++g) {
      tile_row(tile, tile.panel[g], tile.x[i], tile.sums + i * kPanelRows + g * kGroupRows);
    }
  }
}

void float_tile(const FloatTile& tile) {
  for (int g = 0; g < tile.num_groups; ++g) {
    const std::byte* group = tile.groups + g * tile.group_bytes;
    for (std::int64_t column = tile.begin; column < tile.end; ++column) {
      float weights[kGroupRows];
      for (int row = 0; row < kGroupRows; ++row) weights[row] = weight_at(tile, group, column, row);
      for (std::int64_t i = 0; i < tile.num_rows; ++i) {
        const float x = tile.x[i][column];
        float* sums = tile.sums + i * kPanelRows + g * kGroupRows;
        for (int row = 0; row < kGroupRows; ++row) sums[row] += x * weights[row];
      }
    }
  }
}

}  // namespace tandem::portable
