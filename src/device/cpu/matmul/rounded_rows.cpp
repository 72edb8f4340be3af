#include "device/cpu/matmul/rounded_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
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
std::int16_t round_16(const float* x, float factor, std::int8_t* codes) {
  int sum = 0;
  for (int i = 0; i < 16; ++i) {
    const auto code =
        static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(x[i] * factor + kRounder));
    codes[i] = code;
    sum += code;
  }
  return static_cast<std::int16_t>(sum);
}

// Rounds `count` sums to int16, two in each of `pairs`; returns their unit.
float round_sums(const float* sums, int count, std::uint32_t* pairs) {
  float largest = 0.0f;
  for (int i = 0; i < count; ++i) largest = std::max(largest, std::fabs(sums[i]));
  const float factor = largest >= 0x1p-100f ? 32767.0f / largest : 0.0f;
  for (int i = 0; i < count; i += 2) {
    const auto low = std::bit_cast<std::uint32_t>(sums[i] * factor + kRounder);
    const auto high = std::bit_cast<std::uint32_t>(sums[i + 1] * factor + kRounder);
    pairs[i / 2] = (low & 0xffff) | (high << 16);
  }
  return largest / 32767.0f;
}

void round_chunk(const float* x, int num_blocks, RoundedChunk& chunk) {
  std::memset(&chunk, 0, sizeof(chunk));
  for (int b = 0; b < num_blocks; ++b) {
    const BlockScale scale = block_scale(largest_magnitude(x + 32 * b));
    chunk.scales[b] = scale.scale;
    if (scale.factor == 0.0f) continue;  // zeroes already
    std::int8_t* codes = chunk.codes + 32 * b;
    chunk.code_sums[2 * b] = round_16(x + 32 * b, scale.factor, codes);
    chunk.code_sums[2 * b + 1] = round_16(x + 32 * b + 16, scale.factor, codes + 16);
  }
}

}  // namespace

BlockScale block_scale(std::uint32_t largest_bits) {
  if (largest_bits >= kInfinityBits) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  const auto largest = std::bit_cast<float>(largest_bits);
  if (largest < 0x1p-100f) return {};
  return {largest / 127.0f, 127.0f / largest};
}

void sum_blocks(int sub_block, RoundedChunk& chunk) {
  if (sub_block == 32) {
    for (int b = 0; b < 8; ++b) {
      const int sum = chunk.code_sums[2 * b] + chunk.code_sums[2 * b + 1];
      chunk.sums[b] = chunk.scales[b] * static_cast<float>(sum);
    }
    chunk.pair_scale_32 = round_sums(chunk.sums, 8, chunk.sum_pairs_32);
  } else {
    float halves[16];
    for (int j = 0; j < 16; ++j) {
      halves[j] = chunk.scales[j / 2] * static_cast<float>(chunk.code_sums[j]);
    }
    chunk.pair_scale_16 = round_sums(halves, 16, chunk.sum_pairs_16);
  }
}

void round_row(const float* x, std::int64_t columns, std::int64_t stride, RoundedChunk* chunks) {
  for (std::int64_t begin = 0; begin < columns; begin += 256) {
    const auto num_blocks = static_cast<int>(std::min<std::int64_t>(256, columns - begin) / 32);
    round_chunk(x + begin, num_blocks, chunks[begin / 256 * stride]);
  }
}

void sum_starts(const RoundedChunk& chunk, int level_offset, int sub_block, SumStarts& starts) {
  constexpr auto kBits = std::bit_cast<std::int32_t>(kRounder);
  for (int j = 0; j < 256 / sub_block; ++j) {
    const int sum =
        sub_block == 32 ? chunk.code_sums[2 * j] + chunk.code_sums[2 * j + 1] : chunk.code_sums[j];
    starts.starts[j] = kBits - level_offset * sum;
  }
}

}  // namespace tandem
