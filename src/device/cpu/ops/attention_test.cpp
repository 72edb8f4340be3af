#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "device/cpu/ops/ops_fixture.h"
#include "tensor/half.h"
#include "tensor/quantise.h"

namespace tandem {
namespace {

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

// Sequences of given lengths in one paged cache with shuffled blocks; every byte of the cache that
// belongs to no token is NaN (0xFF), so that reading it shows.
class Cache {
 public:
  Cache(const Shape& shape, std::vector<std::int32_t> lengths, std::mt19937& generator)
      : shape_(shape), lengths_(std::move(lengths)) {
    for (const std::int32_t length : lengths_) {
      num_blocks_ += (length + shape.block_tokens - 1) / shape.block_tokens;
    }
    num_blocks_ += 3;
    std::vector<std::int32_t> blocks(static_cast<std::size_t>(num_blocks_));
    std::iota(blocks.begin(), blocks.end(), 0);
    std::shuffle(blocks.begin(), blocks.end(), generator);
    for (const std::int32_t length : lengths_) {
      const auto count = (length + shape.block_tokens - 1) / shape.block_tokens;
      tables_.emplace_back(blocks.end() - count, blocks.end());
      blocks.resize(blocks.size() - static_cast<std::size_t>(count));
    }
    const auto bytes =
        static_cast<std::size_t>(*bytes_of(shape.type, shape.head_dim) * num_blocks_ *
                                 shape.num_kv_heads * shape.block_tokens);
    k_.assign(bytes, std::byte{0xFF});
    v_.assign(bytes, std::byte{0xFF});
  }

  KvView view() {
    return {k_.data(),           v_.data(),           shape_.type,    num_blocks_,
            shape_.block_tokens, shape_.num_kv_heads, shape_.head_dim};
  }
  std::int64_t slot(std::size_t sequence, std::int32_t position) const {
    const std::int64_t block =
        tables_[sequence][static_cast<std::size_t>(position / shape_.block_tokens)];
    return block * shape_.block_tokens + position % shape_.block_tokens;
  }
  // The tokens [begin, end) of a sequence, as rows from first_row of a batch.
  SequenceSlice slice(std::size_t sequence, std::int32_t begin, std::int32_t end,
                      std::int32_t first_row) const {
    return {first_row, end - begin, end, tables_[sequence]};
  }
  // What a later reader finds at a position: [head_dim] of K (or V).
  std::vector<float> stored(bool want_k, std::size_t sequence, std::int32_t position,
                            std::int32_t head) const {
    const std::int64_t s = slot(sequence, position);
    const std::int64_t offset = s % shape_.block_tokens;
    const std::int64_t block_head = s / shape_.block_tokens * shape_.num_kv_heads + head;
    const std::int64_t row_bytes = *bytes_of(shape_.type, shape_.head_dim);
    const std::byte* bytes =
        (want_k ? k_ : v_).data() + block_head * shape_.block_tokens * row_bytes;
    std::vector<float> values(static_cast<std::size_t>(shape_.head_dim));
    if (!want_k || !keys_by_columns(shape_.type, shape_.block_tokens)) {
      dequantise(shape_.type, {bytes + offset * row_bytes, static_cast<std::size_t>(row_bytes)},
                 values);
      return values;
    }
    const std::int64_t element_bytes = row_bytes / shape_.head_dim;
    for (std::size_t d = 0; d < values.size(); ++d) {
      const std::int64_t at = static_cast<std::int64_t>(d) * shape_.block_tokens + offset;
      dequantise(shape_.type, {bytes + at * element_bytes, static_cast<std::size_t>(element_bytes)},
                 {&values[d], 1});
    }
    return values;
  }
  const std::vector<std::int32_t>& lengths() const { return lengths_; }

 private:
  Shape shape_;
  std::vector<std::int32_t> lengths_;
  std::int32_t num_blocks_ = 0;
  std::vector<std::vector<std::int32_t>> tables_;
  std::vector<std::byte> k_, v_;
};

struct Expected {
  double value;
  double tolerance;
};

// Attention of one query head at one position over what the cache holds, in double precision, with
// a bound on the error of doing it in floats.
std::vector<Expected> reference(const Shape& shape, const Cache& cache, std::size_t sequence,
                                std::int32_t position, std::int32_t head, const float* q,
                                float scale) {
  const std::int32_t kv_head = (head + shape.q_head_offset) / shape.q_heads_per_kv_head;
  const std::int32_t begin = shape.window > 0 ? std::max(0, position - shape.window + 1) : 0;
  std::vector<double> scores;
  double score_error = 0;
  for (std::int32_t p = begin; p <= position; ++p) {
    const std::vector<float> k = cache.stored(true, sequence, p, kv_head);
    double sum = 0, size = 0;
    for (std::size_t d = 0; d < k.size(); ++d) {
      const double term =
          static_cast<double>(scale) * static_cast<double>(q[d]) * static_cast<double>(k[d]);
      sum += term;
      size += std::fabs(term);
    }
    // q * scale, then head_dim products and sums; tanh adds a few of its own size
    score_error = std::max(score_error, kRounding * (size * (shape.head_dim + 2) +
                                                     12 * static_cast<double>(shape.soft_cap)));
    const double cap = shape.soft_cap;
    scores.push_back(cap > 0 ? cap * std::tanh(sum / cap) : sum);
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  const double smallest = *std::min_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : scores) total += (score = std::exp(score - largest));
  std::vector<double> sums(static_cast<std::size_t>(shape.head_dim)), sizes(sums.size());
  for (std::int32_t p = begin; p <= position; ++p) {
    const std::vector<float> v = cache.stored(false, sequence, p, kv_head);
    const double weight = scores[static_cast<std::size_t>(p - begin)] / total;
    for (std::size_t d = 0; d < v.size(); ++d) {
      sums[d] += weight * static_cast<double>(v[d]);
      sizes[d] += weight * std::fabs(static_cast<double>(v[d]));
    }
  }
  // Scores off by score_error, each difference to the largest rounded; then exponentials and two
  // sums over at most a split of positions, and the merging of splits.
  const double steps =
      std::min(position + 1 - begin, kAttentionSplit) + 4.0 * (position / kAttentionSplit + 1);
  const double relative =
      2 * (score_error + kRounding * (largest - smallest)) + kRounding * (2 * steps + 16);
  std::vector<Expected> result;
  for (std::size_t d = 0; d < sums.size(); ++d)
    result.push_back({sums[d], relative * sizes[d] + 1e-30});
  return result;
}

class Attention : public CpuOpsTest {
 protected:
  // Stores random keys and values for every token of the cache.
  void fill(const Shape& shape, Cache& cache) {
    const std::int64_t columns = static_cast<std::int64_t>(shape.num_kv_heads) * shape.head_dim;
    for (std::size_t s = 0; s < cache.lengths().size(); ++s) {
      const std::int32_t length = cache.lengths()[s];
      std::vector<float> k = random(length * columns, 2.0f), v = random(length * columns, 2.0f);
      std::vector<std::int64_t> slots;
      for (std::int32_t p = 0; p < length; ++p) slots.push_back(cache.slot(s, p));
      stream().store_kv(dense(k.data(), length, columns), dense(v.data(), length, columns),
                        cache.view(), slots);
    }
  }

  AttentionArgs args(const Shape& shape, Cache& cache, std::vector<float>& q,
                     std::vector<float>& out, std::span<const SequenceSlice> slices) {
    const std::int64_t columns = static_cast<std::int64_t>(shape.num_q_heads) * shape.head_dim;
    const auto tokens = static_cast<std::int64_t>(q.size()) / columns;
    AttentionArgs result;
    result.q = dense(q.data(), tokens, columns);
    result.out = dense(out.data(), tokens, columns);
    result.kv = cache.view();
    result.sequences = slices;
    result.num_q_heads = shape.num_q_heads;
    result.q_heads_per_kv_head = shape.q_heads_per_kv_head;
    result.q_head_offset = shape.q_head_offset;
    result.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
    result.soft_cap = shape.soft_cap;
    result.window = shape.window;
    return result;
  }

  // Runs the last tokens of several sequences in one batch and compares with the reference.
  void check(const Shape& shape, const std::vector<std::int32_t>& lengths,
             const std::vector<std::int32_t>& num_new) {
    Cache cache(shape, lengths, generator_);
    fill(shape, cache);
    const std::int64_t columns = static_cast<std::int64_t>(shape.num_q_heads) * shape.head_dim;
    std::vector<SequenceSlice> slices;
    std::int32_t rows = 0;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      slices.push_back(cache.slice(s, lengths[s] - num_new[s], lengths[s], rows));
      rows += num_new[s];
    }
    std::vector<float> q = random(rows * columns, 2.0f);
    std::vector<float> out(q.size(), std::numeric_limits<float>::quiet_NaN());
    const AttentionArgs arguments = args(shape, cache, q, out, slices);
    stream().attention(arguments);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      for (std::int32_t i = 0; i < num_new[s]; ++i) {
        const std::int64_t row = slices[s].first_token + i;
        for (std::int32_t head = 0; head < shape.num_q_heads; ++head) {
          const std::int64_t at = row * columns + head * shape.head_dim;
          const auto expected = reference(shape, cache, s, lengths[s] - num_new[s] + i, head,
                                          q.data() + at, arguments.scale);
          for (std::size_t d = 0; d < expected.size(); ++d) {
            ASSERT_NEAR(expected[d].value,
                        static_cast<double>(out[static_cast<std::size_t>(at) + d]),
                        expected[d].tolerance)
                << "sequence " << s << " token " << i << " head " << head << " dim " << d;
          }
        }
      }
    }
  }
};
TANDEM_FOR_EVERY_INSTRUCTION_SET(Attention);

TEST_P(Attention, DecodesAndPrefillChunksTogether) {
  check({}, {1, 70, 200, 64, 33}, {1, 1, 17, 64, 33});
}

TEST_P(Attention, LongContextsAcrossSplits) {
  check({.num_q_heads = 4, .num_kv_heads = 1, .head_dim = 32}, {1500, 513, 512}, {1, 3, 1});
}

TEST_P(Attention, HeadDimsAndTypesAndGroupings) {
  for (const ElementType type : {ElementType::kF16, ElementType::kF32, ElementType::kQ8_0}) {
    for (const std::int32_t head_dim : {8, 20, 32, 40, 64, 80, 96, 128, 256}) {
      // K by rows and by columns
      for (const std::int32_t block_tokens : {8, 32}) {
        if (type == ElementType::kQ8_0 && head_dim % 32 != 0) continue;
        check({.num_q_heads = 3,
               .q_heads_per_kv_head = 1,
               .num_kv_heads = 3,
               .head_dim = head_dim,
               .type = type,
               .block_tokens = block_tokens},
              {75, 20}, {2, 20});
      }
    }
  }
  check({.num_q_heads = 71, .q_heads_per_kv_head = 71, .num_kv_heads = 1, .head_dim = 16}, {90},
        {3});
  check({.num_q_heads = 7, .q_heads_per_kv_head = 7, .num_kv_heads = 1, .head_dim = 32}, {300},
        {40});
}

// A rank that holds part of a KV head's queries, on both ends of its share.
TEST_P(Attention, QueryHeadOffset) {
  check({.num_q_heads = 5, .q_heads_per_kv_head = 4, .q_head_offset = 3, .num_kv_heads = 2}, {100},
        {9});
  check({.num_q_heads = 2, .q_heads_per_kv_head = 8, .q_head_offset = 6, .num_kv_heads = 1}, {100},
        {9});
}

TEST_P(Attention, WindowAndSoftCap) {
  for (const std::int32_t window : {1, 5, 64, 100, 600}) {
    check({.num_q_heads = 4, .num_kv_heads = 1, .head_dim = 32, .window = window}, {700, 130},
          {65, 130});
  }
  check({.num_q_heads = 4, .num_kv_heads = 1, .soft_cap = 3.0f}, {150}, {30});
  check({.num_q_heads = 4, .num_kv_heads = 1, .soft_cap = 50.0f, .window = 20}, {150}, {30});
}

TEST_P(Attention, OddBlockSizes) {
  for (const std::int32_t block_tokens : {1, 7, 64, 256}) {
    check({.num_q_heads = 2, .q_heads_per_kv_head = 1, .block_tokens = block_tokens}, {130, 5},
          {3, 5});
  }
}

// All at once, in chunks, token by token among other sequences, on one thread and on three: the
// same bits for every token.
TEST_P(Attention, BitsDoNotDependOnChunksCompanyOrThreads) {
  const Shape shape{.num_q_heads = 6, .q_heads_per_kv_head = 3, .head_dim = 48, .window = 700};
  Cache cache(shape, {1200, 90}, generator_);
  fill(shape, cache);
  const std::int64_t columns = 6 * 48;
  std::vector<float> q = random(1200 * columns), whole(q.size()), pieces(q.size());
  const SequenceSlice all = cache.slice(0, 0, 1200, 0);
  stream().attention(args(shape, cache, q, whole, {&all, 1}));

  std::int32_t begin = 0;
  for (const std::int32_t end : {1, 2, 64, 65, 500, 512, 513, 1000, 1199, 1200}) {
    std::vector<float> batch_q(q.begin() + begin * columns, q.begin() + end * columns);
    const std::vector<float> other = random(columns);
    batch_q.insert(batch_q.end(), other.begin(), other.end());
    std::vector<float> batch_out(batch_q.size());
    const SequenceSlice slices[] = {cache.slice(0, begin, end, 0),
                                    cache.slice(1, 89, 90, end - begin)};
    CpuStream& where = end % 2 == 0 ? stream() : serial_stream();
    where.attention(args(shape, cache, batch_q, batch_out, slices));
    std::copy_n(batch_out.begin(), (end - begin) * columns, pieces.begin() + begin * columns);
    begin = end;
  }
  EXPECT_EQ(std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(float)), 0);
}

TEST_P(Attention, StoreKvRoundsAsTheTypeSays) {
  for (const ElementType type : {ElementType::kF16, ElementType::kF32, ElementType::kQ8_0}) {
    const Shape shape{.num_kv_heads = 3, .head_dim = 64, .type = type, .block_tokens = 4};
    Cache cache(shape, {10}, generator_);
    std::vector<float> k = random(10 * 192, 5.0f), v = random(10 * 192, 1e-3f);
    std::fill_n(k.begin(), 64, 0.0f);  // a block of zeros has no scale
    std::vector<std::int64_t> slots;
    for (std::int32_t p = 0; p < 10; ++p) slots.push_back(cache.slot(0, p));
    stream().store_kv(dense(k.data(), 10, 192), dense(v.data(), 10, 192), cache.view(), slots);
    for (std::int32_t p = 0; p < 10; ++p) {
      for (std::int32_t head = 0; head < 3; ++head) {
        const std::vector<float> stored = cache.stored(true, 0, p, head);
        const float* row = k.data() + p * 192 + head * 64;
        for (std::size_t d = 0; d < 64; ++d) {
          const float extreme = std::fabs(
              *std::max_element(row + d / 32 * 32, row + d / 32 * 32 + 32,
                                [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
          // F16: half a unit of 11 bits. Q8_0: half a step of the block, and the scale's rounding.
          const float tolerance = type == ElementType::kF32 ? 0.0f
                                  : type == ElementType::kF16
                                      ? std::fabs(row[d]) / 2048
                                      : extreme * (0.5f / 127 + 1.0f / 2048);
          EXPECT_NEAR(stored[d], row[d], tolerance);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tandem
