#pragma once

#include "device/cuda/cuda_api.h"
#include "tensor/fragment_layout.h"

// Blocks of a file to fragments (fragment_layout.h), for the kernel that repacks on the device and
// for the host. One function for all types, with the type as an argument: it runs once a weight,
// and its speed is that of scattered byte loads that caches serve. The layouts of the file's blocks
// are drawn in tensor/block_codes_*.cpp.

namespace tandem::cuda {

// Rows of one matrix, from a group's start.
struct PackJob {
  ElementType type;
  FragmentTraits traits;
  std::int32_t unit_bytes;
  std::int32_t block_elements;  // of the file
  std::int32_t block_bytes;
  std::int64_t num_rows;
  std::int64_t columns;
  std::int64_t row_bytes;
  std::int64_t num_units;
  const std::uint8_t* file_rows;
  std::uint8_t* packed;

  __host__ __device__ const std::uint8_t* block(std::int64_t row, std::int64_t column) const {
    return file_rows + row * row_bytes + column / block_elements * block_bytes;
  }
  __host__ __device__ bool holds(std::int64_t row, std::int64_t column) const {
    return row < num_rows && column < columns;
  }
};

__host__ __device__ inline unsigned u16_at(const std::uint8_t* bytes) {
  return bytes[0] | static_cast<unsigned>(bytes[1]) << 8;
}
// Bit fields of column c as the file's families lay them.
__host__ __device__ inline unsigned nibble_of_32(const std::uint8_t* qs, int c) {
  return (qs[c % 16] >> (4 * (c / 16))) & 15u;
}
__host__ __device__ inline unsigned bit_of_32(const std::uint8_t* qh, int c) {
  return (qh[c / 8] >> (c % 8)) & 1u;
}
__host__ __device__ inline unsigned two_bits_of_256(const std::uint8_t* qs, int c) {
  return (qs[32 * (c / 128) + c % 32] >> (2 * (c / 32 % 4))) & 3u;
}
__host__ __device__ inline unsigned bit_of_256(const std::uint8_t* qh, int c) {
  return (qh[c % 32] >> (c / 32)) & 1u;
}

// The code of column c of a block, in two's complement where levels are centred.
__host__ __device__ inline unsigned code_of(ElementType type, const std::uint8_t* block, int c) {
  switch (type) {
    case ElementType::kQ8_0:
      return block[2 + c];
    case ElementType::kQ4_0:
      return nibble_of_32(block + 2, c) ^ 8u;
    case ElementType::kQ4_1:
      return nibble_of_32(block + 4, c);
    case ElementType::kQ5_0:
      return (nibble_of_32(block + 6, c) | bit_of_32(block + 2, c) << 4) ^ 16u;
    case ElementType::kQ5_1:
      return nibble_of_32(block + 8, c) | bit_of_32(block + 4, c) << 4;
    case ElementType::kQ2_K:
      return two_bits_of_256(block + 16, c);
    case ElementType::kQ3_K:
      return (two_bits_of_256(block + 32, c) | bit_of_256(block, c) << 2) ^ 4u;
    case ElementType::kQ4_K:
      return (block[16 + 32 * (c / 64) + c % 32] >> (4 * (c / 32 % 2))) & 15u;
    case ElementType::kQ5_K:
      return ((block[48 + 32 * (c / 64) + c % 32] >> (4 * (c / 32 % 2))) & 15u) |
             bit_of_256(block + 16, c) << 4;
    case ElementType::kQ6_K:
      return (((block[64 * (c / 128) + c % 64] >> (4 * (c / 64 % 2))) & 15u) |
              two_bits_of_256(block + 128, c) << 4) ^
             32u;
    case ElementType::kIQ4_NL:
      return nibble_of_32(block + 2, c);
    case ElementType::kIQ4_XS:
      return nibble_of_32(block + 8 + 16 * (c / 32), c % 32);
    case ElementType::kMXFP4:
      return nibble_of_32(block + 1, c);
    default:
      return u16_at(block);  // a half
  }
}

// Four codes (two halves) of a lane, register r of block b of the chunk that starts at `column`.
struct LaneCodes {
  unsigned codes[4];
};
__host__ __device__ inline LaneCodes codes_of(const PackJob& job, std::int64_t group,
                                              std::int64_t column, int lane, int b, int r) {
  const bool halves = job.traits.levels == LevelForm::kHalves;
  const std::int64_t row = group * kGroupRows + lane / 4 + 8 * (r % 2);
  const std::int64_t first = column + (halves ? 16 * b + 8 * (r / 2) + 2 * (lane % 4)
                                              : 32 * b + 16 * (r / 2) + 4 * (lane % 4));
  LaneCodes result = {};
  for (int i = 0; i < (halves ? 2 : 4); ++i) {
    if (!job.holds(row, first + i)) continue;
    result.codes[i] = code_of(job.type, job.block(row, first + i),
                              static_cast<int>((first + i) % job.block_elements));
  }
  return result;
}

__host__ __device__ inline void put_word(std::uint8_t* to, std::uint32_t word) {
  *reinterpret_cast<std::uint32_t*>(to) = word;
}

// Codes of 8 bits or halves: [b][lane] of 16 bytes.
__host__ __device__ inline void pack_wide(const PackJob& job, std::int64_t group,
                                          std::int64_t column, int lane, std::uint8_t* low) {
  const int bits = job.traits.bits;
  for (int b = 0; b < 2; ++b) {
    for (int r = 0; r < 4; ++r) {
      const LaneCodes lane_codes = codes_of(job, group, column, lane, b, r);
      std::uint32_t word = 0;
      for (int i = 0; i < 32 / bits; ++i) word |= lane_codes.codes[i] << (bits * i);
      put_word(low + 512 * b + 16 * lane + 4 * r, word);
    }
  }
}

// Codes of 2 to 6 bits, in a low and a high plane.
__host__ __device__ inline void pack_planes(const PackJob& job, std::int64_t group,
                                            std::int64_t column, int lane, std::uint8_t* low,
                                            std::uint8_t* high) {
  const int low_bits = job.traits.low_bytes == 512 ? 4 : 2;
  const int high_bits = job.traits.bits - low_bits;
  const bool is_table =
      job.traits.levels == LevelForm::kIq4 || job.traits.levels == LevelForm::kE2m1;
  std::uint32_t low_words[4] = {};
  std::uint32_t high_words[2] = {};
  for (int b = 0; b < 2; ++b) {
    for (int r = 0; r < 4; ++r) {
      const LaneCodes lane_codes = codes_of(job, group, column, lane, b, r);
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t code = lane_codes.codes[i];
        if (low_bits == 4) {
          const int at = is_table ? 16 * (r % 2) + 4 * i : 4 * (r % 2) + 8 * i;
          low_words[2 * b + r / 2] |= (code & 15u) << at;
        } else {
          low_words[b] |= (code & 3u) << (2 * r + 8 * i);
        }
        if (high_bits == 2) high_words[b] |= (code >> low_bits) << (2 * r + 8 * i);
        if (high_bits == 1) high_words[0] |= (code >> low_bits) << (r + 4 * b + 8 * i);
      }
    }
  }
  for (int i = 0; i < low_bits; ++i) put_word(low + 4 * (low_bits * lane + i), low_words[i]);
  for (int i = 0; i < high_bits; ++i) put_word(high + 4 * (high_bits * lane + i), high_words[i]);
}

// Scales of six bits in twelve bytes; see tensor/block_codes_k.cpp.
__host__ __device__ inline void pack_six(const std::uint8_t* block, std::uint8_t* to) {
  const std::uint8_t* bytes = block + 4;
  std::uint32_t scales = 0, mins = 0, high = 0;
  for (int j = 0; j < 8; ++j) {
    const unsigned scale = j < 4 ? bytes[j] & 63u : (bytes[j + 4] & 15u) | (bytes[j - 4] >> 6) << 4;
    const unsigned min = j < 4 ? bytes[j + 4] & 63u : (bytes[j + 4] >> 4) | (bytes[j] >> 6) << 4;
    scales |= (scale & 15u) << (4 * j);
    mins |= (min & 15u) << (4 * j);
    high |= ((scale >> 4) | (min >> 4) << 2) << (4 * j);
  }
  put_word(to, u16_at(block) | u16_at(block + 2) << 16);
  put_word(to + 4, scales);
  put_word(to + 8, mins);
  put_word(to + 12, high);
}
__host__ __device__ inline unsigned q3_scale(const std::uint8_t* bytes, int j) {
  const unsigned low = (bytes[j % 8] >> (4 * (j / 8))) & 15u;
  const unsigned high = (bytes[8 + j % 4] >> (2 * (j / 4))) & 3u;
  return ((low | high << 4) - 32u) & 0xffu;
}

__host__ __device__ inline void put_u16(std::uint8_t* to, unsigned value) {
  *reinterpret_cast<std::uint16_t*>(to) = static_cast<std::uint16_t>(value);
}

// The scales of one block of 32 of a row: h and b say where in its chunk.
__host__ __device__ inline void pack_block_scale(const PackJob& job, const std::uint8_t* block,
                                                 int g, int h, int b, std::uint8_t* scales) {
  const int index = 4 * g + 2 * h + b;
  switch (job.traits.scales) {
    case ScaleLayout::kHalf:
      return put_u16(scales + 2 * index, block == nullptr ? 0 : u16_at(block));
    case ScaleLayout::kHalfWithMin:
      put_u16(scales + 4 * index, block == nullptr ? 0 : u16_at(block));
      return put_u16(scales + 4 * index + 2, block == nullptr ? 0 : u16_at(block + 2));
    default:
      scales[index] = block == nullptr ? std::uint8_t{0} : block[0];
  }
}

// The scales of one block of 256 of a row (not null).
__host__ __device__ inline void pack_super_scales(const PackJob& job, const std::uint8_t* block,
                                                  int row, std::uint8_t* scales) {
  const int at = 2 * (row % 8) + row / 8;  // [g][h]
  switch (job.type) {
    case ElementType::kQ4_K:
    case ElementType::kQ5_K:
      return pack_six(block, scales + 16 * row);
    case ElementType::kQ6_K:
    case ElementType::kQ3_K: {
      const bool six = job.type == ElementType::kQ6_K;
      for (int j = 0; j < 16; ++j) {
        const unsigned scale = six ? block[192 + j] : q3_scale(block + 96, j);
        scales[64 * (j / 4) + 4 * row + j % 4] = static_cast<std::uint8_t>(scale);
      }
      return put_u16(scales + 256 + 2 * at, u16_at(block + (six ? 208 : 108)));
    }
    case ElementType::kQ2_K:
      for (int j = 0; j < 16; ++j) scales[64 * (j / 4) + 4 * row + j % 4] = block[j];
      put_u16(scales + 256 + 4 * at, u16_at(block + 80));
      return put_u16(scales + 256 + 4 * at + 2, u16_at(block + 82));
    default:  // kIQ4_XS: as in the file
      for (int j = 0; j < 8; ++j) scales[8 * row + j] = block[j];
  }
}

// The codes of one lane of a chunk. thread: [unit][chunk][lane].
__host__ __device__ inline void pack_lane(const PackJob& job, std::int64_t thread) {
  const int lane = static_cast<int>(thread % 32);
  const int chunk = static_cast<int>(thread / 32 % job.traits.chunks);
  const std::int64_t unit = thread / 32 / job.traits.chunks;
  const std::int64_t group = unit / job.num_units;
  std::uint8_t* to = job.packed + unit * job.unit_bytes;
  const bool halves = job.traits.levels == LevelForm::kHalves;
  const std::int64_t column =
      (unit % job.num_units * job.traits.chunks + chunk) * (halves ? 32 : 64);
  std::uint8_t* low = to + chunk * job.traits.low_bytes;
  std::uint8_t* high =
      to + job.traits.chunks * job.traits.low_bytes + chunk * job.traits.high_bytes;
  if (job.traits.bits >= 8) {
    pack_wide(job, group, column, lane, low);
  } else {
    pack_planes(job, group, column, lane, low, high);
  }
}

// The scales of one row of a unit. thread: [unit][16 rows].
__host__ __device__ inline void pack_row_scales(const PackJob& job, std::int64_t thread) {
  const int row_of_group = static_cast<int>(thread % kGroupRows);
  const std::int64_t unit = thread / kGroupRows;
  const std::int64_t row = unit / job.num_units * kGroupRows + row_of_group;
  std::uint8_t* scales = job.packed + unit * job.unit_bytes +
                         job.traits.chunks * (job.traits.low_bytes + job.traits.high_bytes);
  if (job.block_elements == 256) {
    // Rows that fill the group stay as the caller's zeroes.
    if (row >= job.num_rows) return;
    const std::int64_t column = unit % job.num_units * 256;
    return pack_super_scales(job, job.block(row, column), row_of_group, scales);
  }
  for (int b = 0; b < 2; ++b) {
    const std::int64_t column = unit % job.num_units * 64 + 32 * b;
    pack_block_scale(job, job.holds(row, column) ? job.block(row, column) : nullptr,
                     row_of_group % 8, row_of_group / 8, b, scales);
  }
}

inline PackJob pack_job(ElementType type, std::int64_t num_rows, std::int64_t columns,
                        const std::uint8_t* file_rows, std::uint8_t* packed) {
  const ElementTypeTraits& file = traits_of(type);
  PackJob job = {};
  job.type = type;
  job.traits = fragment_traits(type);
  job.unit_bytes = job.traits.unit_bytes();
  job.block_elements = file.block_elements;
  job.block_bytes = file.block_bytes;
  job.num_rows = num_rows;
  job.columns = columns;
  job.row_bytes = columns / file.block_elements * file.block_bytes;
  job.num_units = job.traits.num_units(columns);
  job.file_rows = file_rows;
  job.packed = packed;
  return job;
}
inline std::int64_t num_packed_units(const PackJob& job) {
  return (job.num_rows + kGroupRows - 1) / kGroupRows * job.num_units;
}
// Threads of pack_lane() and of pack_row_scales().
inline std::int64_t num_packed_lanes(const PackJob& job) {
  return num_packed_units(job) * job.traits.chunks * 32;
}
inline std::int64_t num_packed_rows(const PackJob& job) {
  return job.traits.scales == ScaleLayout::kNone ? 0 : num_packed_units(job) * kGroupRows;
}

}  // namespace tandem::cuda
