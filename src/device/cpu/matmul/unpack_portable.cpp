#include <bit>
#include <cstring>

#include "device/cpu/matmul/matmul_kernels.h"
#include "tensor/half.h"

namespace tandem::portable {
namespace {

std::uint16_t u16_at(const std::byte* bytes, int index) {
  std::uint16_t value;
  std::memcpy(&value, bytes + 2 * index, 2);
  return value;
}

void add_plane(const std::uint8_t* plane, int bits, int shift, std::uint8_t (*quads)[kQuadBytes]) {
  const unsigned mask = (1u << bits) - 1;
  for (int quad = 0; quad < 8; ++quad) {
    const std::uint8_t* bytes = plane + (quad % bits) * kQuadBytes;
    const int field = quad / bits * bits;
    for (int i = 0; i < kQuadBytes; ++i) {
      quads[quad][i] =
          static_cast<std::uint8_t>(quads[quad][i] | (((bytes[i] >> field) & mask) << shift));
    }
  }
}

void unpack_levels(const PackedTraits& traits, const std::byte* low, int num_blocks,
                   PanelChunk& panel) {
  const std::byte* high = low + low_plane_bytes(traits, num_blocks);
  for (int b = 0; b < num_blocks; ++b) {
    auto* quads = panel.levels[b];
    std::memset(quads, 0, sizeof(panel.levels[b]));
    const int at = b * kQuadBytes;
    add_plane(reinterpret_cast<const std::uint8_t*>(low) + at * traits.low_bits, traits.low_bits, 0,
              quads);
    if (traits.high_bits > 0) {
      add_plane(reinterpret_cast<const std::uint8_t*>(high) + at * traits.high_bits,
                traits.high_bits, traits.low_bits, quads);
    }
    if (traits.table != LevelTable::kNone) {
      const auto levels = offset_levels(traits.table);
      for (int quad = 0; quad < 8; ++quad) {
        for (int i = 0; i < kQuadBytes; ++i) quads[quad][i] = levels[quads[quad][i]];
      }
    }
  }
}

void unpack_super_scales(const PackedTraits& traits, const std::byte* scales, PanelChunk& panel) {
  const bool with_min = traits.form == ScaleForm::kSuperWithMin;
  const int subs = kChunkColumns / traits.sub_block;
  const auto* integers = reinterpret_cast<const std::uint8_t*>(scales + (with_min ? 64 : 32));
  const std::uint8_t* mins = integers + kGroupRows * subs;
  const auto min_of = [&](int j, int row) -> std::uint32_t {
    if (traits.sub_block == 16) return integers[kGroupRows * j + row] >> 4;
    return mins[2 * kGroupRows * (j / 2) + 2 * row + j % 2];
  };
  for (int row = 0; row < kGroupRows; ++row) {
    const float d = float_from_f16(u16_at(scales, row));
    for (int j = 0; j < subs; ++j) {
      int scale = static_cast<std::int8_t>(integers[kGroupRows * j + row]);
      if (with_min && traits.sub_block == 16) scale &= 0x0f;
      panel.scales[j][row] = d * static_cast<float>(scale);
    }
    if (!with_min) continue;
    panel.min_scale[row] = -float_from_f16(u16_at(scales + 32, row));
    for (int p = 0; p < subs / 2; ++p) {
      panel.min_pairs[p][row] = min_of(2 * p, row) | (min_of(2 * p + 1, row) << 16);
    }
  }
}

void unpack_scales(const PackedTraits& traits, const std::byte* scales, int num_blocks,
                   PanelChunk& panel) {
  if (traits.form == ScaleForm::kSuper || traits.form == ScaleForm::kSuperWithMin) {
    return unpack_super_scales(traits, scales, panel);
  }
  for (int b = 0; b < num_blocks; ++b) {
    for (int row = 0; row < kGroupRows; ++row) {
      const int lane = kGroupRows * b + row;
      if (traits.form == ScaleForm::kExponent) {
        panel.scales[b][row] = half_of_e8m0(static_cast<std::uint8_t>(scales[lane]));
        continue;
      }
      panel.scales[b][row] = float_from_f16(u16_at(scales, lane));
      if (traits.form == ScaleForm::kHalfWithMin) {
        panel.shifts[b][row] = float_from_f16(u16_at(scales + 32 * num_blocks, lane));
      }
    }
  }
}

}  // namespace

void unpack(ElementType type, const std::byte* chunk, int num_blocks, PanelChunk& panel) {
  const PackedTraits traits = packed_traits(type);
  unpack_scales(traits, chunk, num_blocks, panel);
  unpack_levels(traits, chunk + scales_bytes(traits, num_blocks), num_blocks, panel);
}

}  // namespace tandem::portable
