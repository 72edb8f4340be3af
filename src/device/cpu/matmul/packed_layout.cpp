#include "device/cpu/matmul/packed_layout.h"

#include <array>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/checked.h"
#include "device/cpu/matmul/packers.h"

namespace tandem {

void portable::pack_plane(const std::uint8_t* codes, std::int64_t stride, int shift, int bits,
                          std::byte* plane) {
  const std::uint32_t mask = 0x01010101u * ((1u << bits) - 1);
  for (int z = 0; z < bits; ++z) {
    for (int row = 0; row < kGroupRows; ++row) {
      std::uint32_t packed = 0;
      for (int field = 0; field < 8 / bits; ++field) {
        std::uint32_t quad;
        std::memcpy(&quad, codes + row * stride + 4 * (field * bits + z), 4);
        packed |= ((quad >> shift) & mask) << (field * bits);
      }
      std::memcpy(plane + z * kQuadBytes + 4 * row, &packed, 4);
    }
  }
}

namespace {

constexpr std::array<std::uint8_t, 16> add_offset(std::array<int, 16> levels, int offset) {
  std::array<std::uint8_t, 16> result = {};
  for (std::size_t i = 0; i < 16; ++i) result[i] = static_cast<std::uint8_t>(levels[i] + offset);
  return result;
}
constexpr auto kIq4Levels =
    add_offset({-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}, 128);
constexpr auto kE2m1Levels =
    add_offset({0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}, 16);

void write_u16(std::byte* at, int index, std::uint16_t value) {
  std::memcpy(at + 2 * index, &value, 2);
}

// The scales of block `block` of a chunk of `num_blocks`, where a file's block has 32 columns.
void pack_block_scales(const PackedTraits& traits, const BlockCodes* rows, int block,
                       int num_blocks, std::byte* scales) {
  for (int row = 0; row < kGroupRows; ++row) {
    const int lane = kGroupRows * block + row;
    if (traits.form == ScaleForm::kExponent) {
      scales[lane] = static_cast<std::byte>(rows[row].d);
      continue;
    }
    write_u16(scales, lane, rows[row].d);
    if (traits.form == ScaleForm::kHalfWithMin) {
      write_u16(scales + 32 * num_blocks, lane, rows[row].dmin);
    }
  }
}

// The scales of a chunk that is one block of 256 columns of the file.
void pack_super_scales(const PackedTraits& traits, const BlockCodes* rows, std::byte* scales) {
  const bool with_min = traits.form == ScaleForm::kSuperWithMin;
  const int subs = kChunkColumns / traits.sub_block;
  std::byte* integers = scales + (with_min ? 64 : 32);
  std::byte* mins = integers + kGroupRows * subs;
  for (int row = 0; row < kGroupRows; ++row) {
    write_u16(scales, row, rows[row].d);
    if (with_min) write_u16(scales + 32, row, rows[row].dmin);
    for (int j = 0; j < subs; ++j) {
      auto integer = static_cast<unsigned>(static_cast<std::uint8_t>(rows[row].scales[j]));
      if (with_min && traits.sub_block == 16) integer |= unsigned{rows[row].mins[j]} << 4;
      integers[kGroupRows * j + row] = static_cast<std::byte>(integer);
      if (with_min && traits.sub_block == 32) {
        mins[2 * kGroupRows * (j / 2) + 2 * row + j % 2] =
            static_cast<std::byte>(rows[row].mins[j]);
      }
    }
  }
  if (traits.padding > 0) {
    std::memset(scales + scales_bytes(traits, 8) - traits.padding, 0,
                static_cast<std::size_t>(traits.padding));
  }
}

void pack_quantised(ElementType type, std::int64_t columns, std::span<const std::byte* const> rows,
                    std::byte* group, InstructionSet set) {
  const auto pack_plane =
      set == InstructionSet::kAvx512 ? avx512::pack_plane : portable::pack_plane;
  const PackedTraits traits = packed_traits(type);
  const ElementTypeTraits& file = traits_of(type);
  BlockCodes blocks[kGroupRows] = {};
  std::int64_t file_offset = 0;
  for (std::int64_t chunk = 0; chunk * kChunkColumns < columns; ++chunk) {
    const int num_blocks = blocks_in_chunk(columns, chunk);
    std::byte* low = group + scales_bytes(traits, num_blocks);
    std::byte* high = low + low_plane_bytes(traits, num_blocks);
    const int blocks_a_unpack = file.block_elements / 32;
    for (int block = 0; block < num_blocks; block += blocks_a_unpack) {
      for (std::size_t row = 0; row < rows.size(); ++row) {
        unpack_block(type, rows[row] + file_offset, blocks[row]);
      }
      file_offset += file.block_bytes;
      if (blocks_a_unpack == 1) {
        pack_block_scales(traits, blocks, block, num_blocks, group);
      } else {
        pack_super_scales(traits, blocks, group);
      }
      for (int part = 0; part < blocks_a_unpack; ++part) {
        const std::uint8_t* codes = blocks[0].codes + 32 * part;
        const std::int64_t at = std::int64_t{block + part} * kQuadBytes;
        pack_plane(codes, sizeof(BlockCodes), 0, traits.low_bits, low + at * traits.low_bits);
        if (traits.high_bits > 0) {
          pack_plane(codes, sizeof(BlockCodes), traits.low_bits, traits.high_bits,
                     high + at * traits.high_bits);
        }
      }
    }
    group += chunk_bytes(traits, num_blocks);
  }
}

// Gathers have offsets of 32 bits.
constexpr std::int64_t kLargestGatherStride = std::numeric_limits<std::int32_t>::max() / kGroupRows;

// [column / per_lane][16 rows][per_lane], with zeroes after the last column and row.
template <typename T>
void pack_plain(std::int64_t columns, int per_lane, std::span<const std::byte* const> rows,
                std::byte* group) {
  const std::int64_t padded = align_up<std::int64_t>(columns, per_lane);
  auto* out = reinterpret_cast<T*>(group);
  if (rows.size() < kGroupRows || padded != columns) {
    std::memset(out, 0, static_cast<std::size_t>(padded * kGroupRows) * sizeof(T));
  }
  for (std::size_t row = 0; row < rows.size(); ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      T value;
      std::memcpy(&value, rows[row] + column * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
      const std::int64_t lane = (column / per_lane) * kGroupRows + static_cast<std::int64_t>(row);
      out[lane * per_lane + column % per_lane] = value;
    }
  }
}

void pack_halves(std::int64_t columns, int per_lane, std::span<const std::byte* const> rows,
                 std::byte* group, InstructionSet set) {
  const std::int64_t stride = rows.size() > 1 ? rows[1] - rows[0] : 0;
  bool evenly = set == InstructionSet::kAvx512 && rows.size() == kGroupRows && columns % 2 == 0 &&
                stride >= 0 && stride <= kLargestGatherStride;
  for (std::size_t row = 1; row < rows.size(); ++row) {
    evenly = evenly && rows[row] - rows[row - 1] == stride;
  }
  if (evenly) return avx512::pack_halves(rows[0], stride, columns, per_lane, group);
  pack_plain<std::uint16_t>(columns, per_lane, rows, group);
}

}  // namespace

std::int64_t packed_group_bytes(ElementType type, std::int64_t columns) {
  switch (type) {
    case ElementType::kF32:
      return columns * kGroupRows * 4;
    case ElementType::kF16:
      return columns * kGroupRows * 2;
    case ElementType::kBF16:
      return align_up<std::int64_t>(columns, 2) * kGroupRows * 2;
    default: {
      const PackedTraits traits = packed_traits(type);
      const int tail = static_cast<int>(columns % kChunkColumns / 32);
      return columns / kChunkColumns * chunk_bytes(traits, 8) +
             (tail > 0 ? chunk_bytes(traits, tail) : 0);
    }
  }
}

void pack_group(ElementType type, std::int64_t columns, std::span<const std::byte* const> rows,
                std::byte* group, InstructionSet set) {
  TANDEM_CHECK(rows.size() <= kGroupRows, "a group has 16 rows");
  switch (type) {
    case ElementType::kF32:
      return pack_plain<std::uint32_t>(columns, 1, rows, group);
    case ElementType::kF16:
      return pack_halves(columns, 1, rows, group, set);
    case ElementType::kBF16:
      return pack_halves(columns, 2, rows, group, set);
    default:
      return pack_quantised(type, columns, rows, group, set);
  }
}

std::span<const std::uint8_t, 16> offset_levels(LevelTable table) {
  return table == LevelTable::kE2m1 ? kE2m1Levels : kIq4Levels;
}

}  // namespace tandem
