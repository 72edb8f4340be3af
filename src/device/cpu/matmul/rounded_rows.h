#pragma once

#include <cstdint>

namespace tandem {

// Adding it to a small number rounds that to an integer, ties to even.
inline constexpr float kRounder = 0x1.8p23f;

// 256 columns (or the last few) of one row of activations, rounded to eight bits in blocks of 32,
// each with its own scale, its largest magnitude / 127:
//
//   x[c] is about scales[c / 32] * codes[c],   |error| <= scale / 2
//
// A dot product with a block is an integer D, |D| < 2^22, that the kernels turn into a float
// without a conversion: their sum starts at the bits of kRounder, whose last bit is worth 1; after
// the sum, read as a float and less kRounder, it is D, exactly.
struct alignas(64) RoundedChunk {
  std::int8_t codes[256];
  float scales[8];
  std::int16_t code_sums[16];  // of each 16 columns
  // For weights with mins, filled in by sum_blocks: the sums of what the codes stand for, of each
  // block of 32 as a float; and of the sub-blocks 2p and 2p + 1 (of 32 or 16 columns) as pairs of
  // int16 in units of pair_scale, the largest sum of the chunk / 32767: 256 times finer than codes.
  float sums[8];
  std::uint32_t sum_pairs_32[4];
  std::uint32_t sum_pairs_16[8];
  float pair_scale_32;
  float pair_scale_16;
};

// Where the integer sums of a chunk start, for levels that have `level_offset` added to them: the
// bits of kRounder less level_offset times the sum of the codes. One a sub-block.
struct alignas(64) SumStarts {
  std::int32_t starts[16];
};

// Rounds `columns` (a multiple of 32) numbers; chunk c goes to chunks[c * stride]. Codes after the
// last column are zeroes. A block with an infinity or a NaN gets the scale NaN, so that its
// products are NaN; one whose magnitudes are all below 2^-100 becomes zero.
void round_row(const float* x, std::int64_t columns, std::int64_t stride, RoundedChunk* chunks);

// Fills in the sums for sub-blocks of 16 or 32.
void sum_blocks(int sub_block, RoundedChunk& chunk);

// The scale and the factor x is multiplied with for a block whose largest magnitude has these bits
// (more than those of infinity: there is a NaN).
struct BlockScale {
  float scale = 0.0f;
  float factor = 0.0f;
};
BlockScale block_scale(std::uint32_t largest_bits);

// sub_block: 16 or 32.
void sum_starts(const RoundedChunk& chunk, int level_offset, int sub_block, SumStarts& starts);

}  // namespace tandem
