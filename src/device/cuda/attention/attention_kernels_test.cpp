// The tensor-core kernels alone, against attention in float64. Ops::attention as a whole is tested
// with the device.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "device/cuda/attention/paged_attention.h"
#include "device/cuda/kv_layout.h"
#include "device/cuda/matmul/device_array_for_test.h"
#include "tensor/half.h"

namespace tandem::cuda {
namespace {

constexpr double kEps = 0x1p-24;

struct Shape {
  std::int32_t num_q_heads = 8;
  std::int32_t q_heads_per_kv_head = 4;
  std::int32_t q_head_offset = 0;
  std::int32_t num_kv_heads = 2;
  std::int32_t head_dim = 64;
  ElementType type = ElementType::kF16;
  float soft_cap = 0;
  std::int32_t window = 0;
  std::int32_t block_tokens = 16;
};

// Sequences in one paged cache with shuffled blocks; what belongs to no token is NaN.
class Cache {
 public:
  Cache(const Shape& shape, const std::vector<std::int32_t>& lengths, std::mt19937& random)
      : shape_(shape) {
    for (const std::int32_t length : lengths) num_blocks_ += blocks_of(length);
    num_blocks_ += 3;
    std::vector<std::int32_t> blocks(static_cast<std::size_t>(num_blocks_));
    std::iota(blocks.begin(), blocks.end(), 0);
    std::shuffle(blocks.begin(), blocks.end(), random);
    for (const std::int32_t length : lengths) {
      first_block_.push_back(static_cast<std::int32_t>(tables_.size()));
      for (std::int32_t i = 0; i < blocks_of(length); ++i) {
        tables_.push_back(blocks.back());
        blocks.pop_back();
      }
    }
    const std::int64_t rows = std::int64_t{num_blocks_} * shape.num_kv_heads * shape.block_tokens;
    bytes_.assign(static_cast<std::size_t>(rows * *bytes_of(shape.type, shape.head_dim)), 0xff);
    std::uniform_real_distribution<float> uniform(-2, 2);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      for (std::int32_t p = 0; p < lengths[s]; ++p) {
        for (std::int32_t head = 0; head < shape.num_kv_heads; ++head) {
          for (std::int32_t d = 0; d < shape.head_dim; ++d) put(s, p, head, d, uniform(random));
        }
      }
    }
  }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }
  const std::vector<std::int32_t>& tables() const { return tables_; }
  std::int32_t first_block(std::size_t sequence) const { return first_block_[sequence]; }
  std::int32_t num_blocks() const { return num_blocks_; }

  double at(std::size_t sequence, std::int32_t position, std::int32_t head, std::int32_t d) const {
    const std::int64_t row = row_of(sequence, position, head);
    if (shape_.type == ElementType::kF16) return half_at(2 * (row * shape_.head_dim + d));
    const Q8Place place = place_of(row);
    return static_cast<std::int8_t>(bytes_[static_cast<std::size_t>(place.codes + d)]) *
           half_at(place.scales + d / 32 * 2);
  }

 private:
  std::int32_t blocks_of(std::int32_t length) const {
    return (length + shape_.block_tokens - 1) / shape_.block_tokens;
  }
  std::int64_t row_of(std::size_t sequence, std::int32_t position, std::int32_t head) const {
    const auto index =
        static_cast<std::size_t>(first_block_[sequence] + position / shape_.block_tokens);
    return (std::int64_t{tables_[index]} * shape_.num_kv_heads + head) * shape_.block_tokens +
           position % shape_.block_tokens;
  }
  Q8Place place_of(std::int64_t row) const {
    return q8_place(row, shape_.block_tokens, shape_.head_dim);
  }
  double half_at(std::int64_t byte) const {
    std::uint16_t bits;
    std::memcpy(&bits, bytes_.data() + byte, 2);
    return float_from_f16(bits);
  }
  void put_half(std::int64_t byte, float value) {
    const std::uint16_t bits = f16_from_float(value);
    std::memcpy(bytes_.data() + byte, &bits, 2);
  }
  void put(std::size_t sequence, std::int32_t position, std::int32_t head, std::int32_t d,
           float value) {
    const std::int64_t row = row_of(sequence, position, head);
    if (shape_.type == ElementType::kF16) return put_half(2 * (row * shape_.head_dim + d), value);
    const Q8Place place = place_of(row);
    bytes_[static_cast<std::size_t>(place.codes + d)] =
        static_cast<std::uint8_t>(static_cast<std::int8_t>(value * 63));
    put_half(place.scales + d / 32 * 2, (1.0f + 0.25f * static_cast<float>(d / 32)) / 63);
  }

  Shape shape_;
  std::int32_t num_blocks_ = 0;
  std::vector<std::int32_t> tables_, first_block_;
  std::vector<std::uint8_t> bytes_;
};

// One (query, head) in float64, with a bound on the kernels' error:
//
//   scores      head_dim + 3 float roundings of the sum's size; queries as two float16 leave 2^-22
//               of it; tanh a few of the cap's; Q8_0 keys are rounded to float16, 2^-11 of the size
//   each p      twice that (its own and the largest's), the difference's rounding, exp2f, and its
//               rounding to float16: 2^-11, or 2^-25 of the largest where it is subnormal
//   the sums    a rounding a position, and four for merging warps and splits; tensor cores may
//               truncate where they add, so two each
//   Q8_0 values are rounded to float16: 2^-11
struct Expected {
  std::vector<double> values, tolerances;
};
Expected expected(const Shape& shape, const Cache& k, const Cache& v, std::size_t sequence,
                  std::int32_t position, std::int32_t head, const float* q, float scale) {
  const std::int32_t kv_head = (head + shape.q_head_offset) / shape.q_heads_per_kv_head;
  const std::int32_t begin = shape.window > 0 ? std::max(0, position - shape.window + 1) : 0;
  const double q8 = shape.type == ElementType::kQ8_0 ? 0x1p-11 : 0.0;
  std::vector<double> scores;
  double score_error = 0;
  for (std::int32_t p = begin; p <= position; ++p) {
    double sum = 0, size = 0;
    for (std::int32_t d = 0; d < shape.head_dim; ++d) {
      const double term = static_cast<double>(scale) * q[d] * k.at(sequence, p, kv_head, d);
      sum += term;
      size += std::fabs(term);
    }
    score_error = std::max(score_error, size * (2 * kEps * (shape.head_dim + 3) + 0x1p-22 + q8) +
                                            12 * kEps * static_cast<double>(shape.soft_cap));
    const double cap = shape.soft_cap;
    scores.push_back(cap > 0 ? cap * std::tanh(sum / cap) : sum);
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  const double spread = largest - *std::min_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : scores) total += (score = std::exp(score - largest));
  Expected result;
  result.values.resize(static_cast<std::size_t>(shape.head_dim));
  const double positions = position + 1 - begin;
  const double relative = 2 * (score_error + 4 * kEps * spread) + 0x1p-11 + q8 +
                          kEps * (2 * positions + 8 * (positions / 256 + 3) + 16);
  for (std::int32_t d = 0; d < shape.head_dim; ++d) {
    double size = 0, sum_of_sizes = 0;
    for (std::int32_t p = begin; p <= position; ++p) {
      const double weight = scores[static_cast<std::size_t>(p - begin)] / total;
      const double value = v.at(sequence, p, kv_head, d);
      result.values[static_cast<std::size_t>(d)] += weight * value;
      size += weight * std::fabs(value);
      sum_of_sizes += std::fabs(value);
    }
    result.tolerances.push_back(relative * size + 0x1p-25 * sum_of_sizes / total);
  }
  return result;
}

// Runs the last num_new tokens of each sequence as one batch.
void check(const Shape& shape, const std::vector<std::int32_t>& lengths,
           const std::vector<std::int32_t>& num_new, std::int32_t every_head = 1) {
  std::mt19937 random(7);
  std::mt19937 same(9);
  std::mt19937 same_again(9);  // the same blocks for K and V
  const Cache k(shape, lengths, same);
  Cache v(shape, lengths, same_again);
  std::vector<DeviceSequence> sequences;
  std::vector<std::int32_t> sequence_of_token;
  DeviceSequences::Limits limits;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    sequences.push_back({limits.num_tokens, num_new[s], lengths[s], k.first_block(s)});
    sequence_of_token.insert(sequence_of_token.end(), static_cast<std::size_t>(num_new[s]),
                             static_cast<std::int32_t>(s));
    limits.num_tokens += num_new[s];
    limits.max_tokens = std::max(limits.max_tokens, num_new[s]);
    limits.max_context = std::max(limits.max_context, lengths[s]);
  }
  limits.num_sequences = static_cast<std::int32_t>(lengths.size());
  const std::int64_t columns = std::int64_t{shape.num_q_heads} * shape.head_dim;
  const std::int64_t stride = columns + 5;  // rows of q and out are not aligned
  std::uniform_real_distribution<float> uniform(-2, 2);
  std::vector<float> q(static_cast<std::size_t>(limits.num_tokens * stride));
  for (float& value : q) value = uniform(random);

  const DeviceArray<std::uint8_t> k_memory(k.bytes()), v_memory(v.bytes());
  const DeviceArray<DeviceSequence> sequence_memory(sequences);
  const DeviceArray<std::int32_t> tables(k.tables()), of_token(sequence_of_token);
  const DeviceArray<float> q_memory(q), out(limits.num_tokens * stride);
  AttentionArgs args;
  args.q = {q_memory.data(), limits.num_tokens, columns, stride};
  args.out = {out.data(), limits.num_tokens, columns, stride};
  args.kv = {k_memory.data(),    v_memory.data(),    shape.type,    k.num_blocks(),
             shape.block_tokens, shape.num_kv_heads, shape.head_dim};
  args.num_q_heads = shape.num_q_heads;
  args.q_heads_per_kv_head = shape.q_heads_per_kv_head;
  args.q_head_offset = shape.q_head_offset;
  args.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  args.soft_cap = shape.soft_cap;
  args.window = shape.window;
  const DeviceSequences on_device{sequence_memory.data(), tables.data(), of_token.data(), limits};
  ASSERT_TRUE(has_paged_attention(args.kv));
  const DeviceArray<std::uint8_t> scratch(paged_attention_scratch_bytes(args, limits));
  TestStream stream;
  ASSERT_EQ(paged_attention(stream, args, on_device, scratch.data()), cudaSuccess);
  stream.expect_done();

  const std::vector<float> got = out.to_host();
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    for (std::int32_t i = 0; i < num_new[s]; ++i) {
      const std::int64_t row = (sequences[s].first_token + i) * stride;
      for (std::int32_t head = (i * 3) % every_head; head < shape.num_q_heads; head += every_head) {
        const std::int64_t at = row + std::int64_t{head} * shape.head_dim;
        const Expected want =
            expected(shape, k, v, s, lengths[s] - num_new[s] + i, head, q.data() + at, args.scale);
        for (std::size_t d = 0; d < want.values.size(); ++d) {
          ASSERT_NEAR(got[static_cast<std::size_t>(at) + d], want.values[d], want.tolerances[d])
              << "sequence " << s << " token " << i << " head " << head << " number " << d
              << " of heads of " << shape.head_dim;
        }
      }
      for (std::int64_t c = columns; c < stride; ++c) {
        ASSERT_TRUE(std::isnan(got[static_cast<std::size_t>(row + c)])) << "beside the row";
      }
    }
  }
}

TEST(PagedAttention, DecodesAndPrefillChunksTogether) {
  check({}, {1, 70, 140, 64, 33}, {1, 1, 17, 64, 3}, 3);
}

TEST(PagedAttention, MergesTheSplitsOfLongContexts) {
  check({.num_q_heads = 4, .num_kv_heads = 1, .head_dim = 32}, {700, 513, 512, 257, 256},
        {1, 3, 1, 16, 1}, 3);
}

TEST(PagedAttention, HeadsOfEverySize) {
  for (const std::int32_t head_dim : {8, 16, 40, 80, 96, 128, 192, 256}) {
    check({.num_q_heads = 3, .q_heads_per_kv_head = 1, .num_kv_heads = 3, .head_dim = head_dim},
          {45, 67}, {2, 66}, 7);
  }
}

TEST(PagedAttention, HeadsOfAQ8Cache) {
  for (const std::int32_t head_dim : {32, 64, 96, 128, 256}) {
    check({.num_q_heads = 2,
           .q_heads_per_kv_head = 1,
           .num_kv_heads = 2,
           .head_dim = head_dim,
           .type = ElementType::kQ8_0},
          {45, 67}, {2, 66}, 7);
  }
}

TEST(PagedAttention, GroupsOfAnyNumberOfQueryHeads) {
  check({.num_q_heads = 71, .q_heads_per_kv_head = 71, .num_kv_heads = 1, .head_dim = 16}, {90, 20},
        {3, 1}, 11);
  check({.num_q_heads = 14, .q_heads_per_kv_head = 7, .num_kv_heads = 2, .head_dim = 32}, {300, 50},
        {20, 1}, 5);
  // A rank that holds the last heads of one KV head and the first of another.
  check({.num_q_heads = 5, .q_heads_per_kv_head = 4, .q_head_offset = 3, .num_kv_heads = 2},
        {50, 61}, {1, 30}, 2);
}

TEST(PagedAttention, WindowsAndSoftCaps) {
  check({.num_q_heads = 4, .num_kv_heads = 1, .window = 30}, {100, 64, 330}, {1, 40, 2}, 3);
  check({.num_q_heads = 4, .num_kv_heads = 1, .window = 270}, {600}, {1}, 1);
  check({.num_q_heads = 4, .num_kv_heads = 1, .soft_cap = 3.0f}, {40, 80}, {1, 40}, 3);
  check({.num_q_heads = 4, .num_kv_heads = 1, .block_tokens = 7}, {100, 33}, {1, 20}, 3);
}

}  // namespace
}  // namespace tandem::cuda
