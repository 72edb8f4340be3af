#include "device/cpu/matmul/rounded_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace tandem {
namespace {

constexpr std::uint32_t kInfinityBits = 0x7f800000;

// Of 32 numbers, as bits: larger than kInfinityBits if one is NaN.
std::uint32_t largest_magnitude(const float* x) {
  std::uint32_t largest = 0;
  for (int i = 0; i < 32; ++i) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  }
  return largest;
}

// Rounds x * factor; returns the sum of the 16 codes.
int round_16(const float* x, float factor, std::int8_t* codes) {
  int sum = 0;
  for (int i = 0; i < 16; ++i) {
    const auto code =
        static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(x[i] * factor + kRounder));
    codes[i] = code;
    sum += code;
  }
  return sum;
}

std::uint32_t pair_of(int low, int high) {
  return (static_cast<std::uint32_t>(low) & 0xffff) | (static_cast<std::uint32_t>(high) << 16);
}

void round_chunk(const float* x, int num_blocks, RoundedChunk& chunk) {
  std::memset(&chunk, 0, sizeof(chunk));
  std::uint32_t largest[8] = {};
  std::uint32_t chunk_bits = 0;
  for (int b = 0; b < num_blocks; ++b) {
    largest[b] = largest_magnitude(x + 32 * b);
    chunk_bits = std::max(chunk_bits, largest[b]);
  }
  const auto chunk_largest = std::bit_cast<float>(chunk_bits);
  const bool finite = chunk_bits < kInfinityBits;
  const bool some = finite && chunk_largest >= 0x1p-100f;
  chunk.scale = finite ? chunk_largest / 127.0f : std::numeric_limits<float>::quiet_NaN();
  for (int b = 0; b < 8; ++b) chunk.magic[b] = kRounder;
  if (!some) return;

  const float factor = 127.0f / chunk_largest;
  for (int b = 0; b < num_blocks; ++b) {
    const int e = pick_exponent(std::bit_cast<float>(largest[b]), chunk_largest);
    const float block_factor = factor * static_cast<float>(1 << e);
    const int low = round_16(x + 32 * b, block_factor, chunk.codes + 32 * b);
    const int high = round_16(x + 32 * b + 16, block_factor, chunk.codes + 32 * b + 16);
    const int unit = 1 << (kMaxExponent - e);
    chunk.magic[b] = kRounder / static_cast<float>(1 << e);
    chunk.raw_sums[2 * b] = static_cast<std::int16_t>(low);
    chunk.raw_sums[2 * b + 1] = static_cast<std::int16_t>(high);
    chunk.sums[b] = static_cast<float>((low + high) * unit);
    chunk.sum_pairs_16[b] = pair_of(low * unit, high * unit);
    const std::uint32_t both = static_cast<std::uint32_t>((low + high) * unit) & 0xffff;
    chunk.sum_pairs_32[b / 2] |= both << (16 * (b % 2));
  }
}

}  // namespace

int pick_exponent(float block_largest, float chunk_largest) {
  int exponent = 0;
  while (exponent < kMaxExponent &&
         block_largest * static_cast<float>(2 << exponent) <= chunk_largest) {
    ++exponent;
  }
  return exponent;
}

void round_row(const float* x, std::int64_t columns, std::int64_t stride, RoundedChunk* chunks) {
  for (std::int64_t begin = 0; begin < columns; begin += 256) {
    const auto num_blocks = static_cast<int>(std::min<std::int64_t>(256, columns - begin) / 32);
    round_chunk(x + begin, num_blocks, chunks[begin / 256 * stride]);
  }
}

void sum_starts(const RoundedChunk& chunk, int level_offset, int sub_block, SumStarts& starts) {
  for (int j = 0; j < 256 / sub_block; ++j) {
    const int block = sub_block == 32 ? j : j / 2;
    const int sum =
        sub_block == 32 ? chunk.raw_sums[2 * j] + chunk.raw_sums[2 * j + 1] : chunk.raw_sums[j];
    starts.starts[j] = std::bit_cast<std::int32_t>(chunk.magic[block]) - level_offset * sum;
  }
}

}  // namespace tandem
