#pragma once

#include <cstdint>

namespace tandem {

// Adding it to a small number rounds that to an integer, ties to even.
inline constexpr float kRounder = 0x1.8p23f;
inline constexpr int kMaxExponent = 3;

// 256 columns (or the last few) of one row of activations, rounded to eight bits.
//
// The chunk has a float scale, its largest magnitude / 127; each block of 32 columns has an
// exponent e in 0..3 besides, the largest with which its codes still fit, so that one outlier costs
// its neighbours little:
//
//   x[c] is about scale * 2^-e * codes[c],   |error| <= scale * 2^-e / 2
//
// A dot product with a block is an integer D, |D| < 2^22, that the kernels turn into the float
// D * 2^-e without a conversion: their sum starts at the bits of the float m = 1.5 * 2^(23-e),
// whose last bit is worth 2^-e; after the sum, read as a float and less m, it is D * 2^-e, exactly.
struct alignas(64) RoundedChunk {
  std::int8_t codes[256];
  float magic[8];                 // m of each block of 32
  float sums[8];                  // sum of the codes of each block of 32 * 2^(3-e), exact
  std::uint32_t sum_pairs_32[4];  // the same as pairs of int16: blocks 2p and 2p + 1
  std::uint32_t sum_pairs_16[8];  // the same of each 16 columns: 2p and 2p + 1
  std::int16_t raw_sums[16];      // sum of the codes of each 16 columns
  float scale;
};

// Where the integer sums of a chunk start, for levels that have `level_offset` added to them: the
// bits of magic less level_offset times the sum of the codes. One a sub-block.
struct alignas(64) SumStarts {
  std::int32_t starts[16];
};

// The largest e in 0..3 with which a block of that largest magnitude fits beside its chunk's.
int pick_exponent(float block_largest, float chunk_largest);

// Rounds `columns` (a multiple of 32) numbers. Codes after the last column are zeroes. A chunk with
// an infinity or a NaN gets the scale NaN, so that its products are NaN; one whose magnitudes are
// all below 2^-100 becomes zero.
// Chunk c goes to chunks[c * stride].
void round_row(const float* x, std::int64_t columns, std::int64_t stride, RoundedChunk* chunks);

// sub_block: 16 or 32.
void sum_starts(const RoundedChunk& chunk, int level_offset, int sub_block, SumStarts& starts);

}  // namespace tandem
