#include "device/cpu/matmul/cpu_matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "device/cpu/matmul/cpu_weight.h"
#include "device/cpu/matmul/file_weight_for_test.h"
#include "device/cpu/matmul/matmul_kernels.h"
#include "tensor/half.h"

namespace tandem {
namespace {

struct Engine {
  ThreadPool pool;
  Arithmetic arithmetic;
  InstructionSet set;
  CpuMatmul matmul;
  WeightArena arena;
  Engine(InstructionSet s, int threads = 1, Arithmetic a = Arithmetic::kInt8)
      : pool(std::vector<int>(static_cast<std::size_t>(threads), 0), false),
        arithmetic(a),
        set(s),
        matmul(pool, a, s) {}
  std::unique_ptr<Weight> load(const FileWeight& weight) {
    return std::move(load_cpu_weight(weight.source(), pool, arithmetic, set, arena)).value();
  }
  std::vector<float> multiply(const Weight& weight, std::vector<float> x, std::int64_t rows,
                              const float* bias = nullptr) {
    std::vector<float> y(static_cast<std::size_t>(rows * weight.rows()), -7.0f);
    const MatmulTarget target{&weight, bias, dense(y.data(), rows, weight.rows())};
    matmul.matmul(dense(x.data(), rows, weight.columns()), std::span(&target, 1));
    return y;
  }
};

// What rounding x to eight bits (or, for BF16 weights, to bfloat16) may change in column c: half a
// step, which is the largest magnitude of the block of 32 over 127 (rounded_rows.h).
double rounding_of_x(ElementType type, InstructionSet set, const float* x, std::int64_t c) {
  if (type == ElementType::kBF16) {
    const bool rounds = set == InstructionSet::kAvx512 && has_avx512_bf16();
    return rounds ? std::fabs(static_cast<double>(x[c])) * 0x1p-8 : 0.0;
  }
  if (!traits_of(type).is_quantised) return 0.0;
  double largest = 0;
  for (std::int64_t i = c / 32 * 32; i < c / 32 * 32 + 32; ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(x[i])));
  }
  return largest / 127 / 2;
}

// Bounds |y - exact| for one output:
//
//   sum |w_c| r_c        r_c: rounding of x_c, above; w is used exactly
//   + n eps sum (|w_c| + 2 shift)(|x_c| + r_c)
//   + shift * s / 65534  for each sub-block with a min: x's sum s is rounded to int16
//
// where n counts the roundings a term passes through: of x's scale, of the code (x * 127 / largest
// is itself rounded), of u, and one for each addition after it: two a block and one a chunk. With
// float activations there is one a column. The shift: level times scale and the subtracted min are
// separate terms, each at most |w| + shift.
struct Reference {
  double exact = 0;
  double tolerance = 0;
};
Reference reference(const FileWeight& weight, std::int64_t expert, std::int64_t row, const float* x,
                    const std::vector<double>& rounding_of) {
  Reference result;
  double magnitude = 0;
  double largest_x = 0;
  const double shift = weight.largest_shift(expert, row);
  const float* w = weight.row(expert, row);
  for (std::int64_t c = 0; c < weight.columns; ++c) {
    result.exact += static_cast<double>(w[c]) * x[c];
    const double rounding = rounding_of.empty() ? 0.0 : rounding_of[static_cast<std::size_t>(c)];
    result.tolerance += std::fabs(static_cast<double>(w[c])) * rounding;
    const double x_c = std::fabs(static_cast<double>(x[c])) + rounding;
    magnitude += (std::fabs(static_cast<double>(w[c])) + 2 * shift) * x_c;
    largest_x = std::max(largest_x, x_c);
  }
  const auto columns = static_cast<double>(weight.columns);
  if (!traits_of(weight.type).is_quantised) {
    result.tolerance += (columns + 1) * kEps * magnitude;
    return result;
  }
  result.tolerance += (2 * columns / 32 + std::ceil(columns / 256) + 4) * kEps * magnitude;
  const BlockScheme& scheme = *block_scheme_of(weight.type);
  if (scheme.scale_form == ScaleForm::kSuperWithMin) {
    const double largest_sum = scheme.sub_block_elements * largest_x;
    result.tolerance += columns / scheme.sub_block_elements * shift * largest_sum / 65534;
  }
  return result;
}

void expect_products(const FileWeight& weight, InstructionSet set, const std::vector<float>& x,
                     std::int64_t num_rows, const std::vector<float>& y, bool exact_x) {
  for (std::int64_t i = 0; i < num_rows; ++i) {
    const float* x_row = x.data() + i * weight.columns;
    std::vector<double> rounding;
    for (std::int64_t c = 0; c < weight.columns && !exact_x; ++c) {
      rounding.push_back(rounding_of_x(weight.type, set, x_row, c));
    }
    for (std::int64_t row = 0; row < weight.rows; ++row) {
      const Reference want = reference(weight, 0, row, x_row, rounding);
      ASSERT_NEAR(y[static_cast<std::size_t>(i * weight.rows + row)], want.exact, want.tolerance)
          << traits_of(weight.type).name << " " << name_of(set) << " row of x " << i << ", row "
          << row << " of " << weight.rows << "x" << weight.columns;
    }
  }
}

using Case = std::tuple<ElementType, InstructionSet>;
class Matmul : public testing::TestWithParam<Case> {
 protected:
  ElementType type() const { return std::get<0>(GetParam()); }
  InstructionSet set() const { return std::get<1>(GetParam()); }
  // Shapes that divide by nothing: [rows, blocks of columns].
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes() const {
    const std::int64_t block = traits_of(type()).block_elements;
    if (block == 1) return {{5, 1}, {64, 96}, {83, 67}, {16, 1500}};
    if (block == 256) return {{1, 256}, {16, 512}, {67, 768}, {130, 256}};
    return {{1, 32}, {16, 256}, {67, 96}, {83, 288}, {130, 544}};
  }
};
class RoundedMatmul : public Matmul {};

std::string case_name(const testing::TestParamInfo<Case>& test) {
  return std::string(traits_of(std::get<0>(test.param)).name) + "_" +
         std::string(name_of(std::get<1>(test.param)));
}
INSTANTIATE_TEST_SUITE_P(Types, Matmul,
                         testing::Combine(testing::ValuesIn(weight_types(false)),
                                          testing::ValuesIn(available_sets())),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Types, RoundedMatmul,
                         testing::Combine(testing::ValuesIn(weight_types(true)),
                                          testing::ValuesIn(available_sets())),
                         case_name);

TEST_P(Matmul, IsWithinTheRoundingOfActivations) {
  Engine engine(set());
  for (const auto& [rows, columns] : shapes()) {
    const FileWeight weight(type(), 1, rows, columns);
    const auto loaded = engine.load(weight);
    for (const std::int64_t num_rows : {1, 2, 3, 7, 8, 9, 33}) {
      const std::vector<float> x = gaussian(num_rows * columns, 17);
      expect_products(weight, set(), x, num_rows, engine.multiply(*loaded, x, num_rows), false);
    }
  }
}

// Where rounding costs nothing, only the rounding of float additions is left: a tolerance that is
// thousands of times narrower, in which no wrong bit of a weight can hide.
TEST_P(Matmul, IsExactForRepresentableActivations) {
  Engine engine(set());
  for (const auto& [rows, columns] : shapes()) {
    const FileWeight weight(type(), 1, rows, columns, 3);
    const auto loaded = engine.load(weight);
    for (const std::int64_t num_rows : {1, 2, 3, 7, 8, 9, 33}) {
      const std::vector<float> x = representable(num_rows, columns, 19);
      expect_products(weight, set(), x, num_rows, engine.multiply(*loaded, x, num_rows), true);
    }
  }
}

TEST_P(Matmul, ARowsBitsDoNotDependOnItsBatchOrTheThreads) {
  Engine alone(set(), 1);
  Engine together(set(), 3);
  for (const auto& [rows, columns] : {shapes()[2], shapes().back()}) {
    const FileWeight weight(type(), 1, rows, columns);
    const auto loaded = alone.load(weight);
    const auto loaded_together = together.load(weight);
    constexpr std::int64_t kRows = 600;  // more than one pass
    const std::vector<float> x = gaussian(kRows * columns, 23);
    const std::vector<float> batch = together.multiply(*loaded_together, x, kRows);
    for (const std::int64_t i : {0, 1, 4, 31, 511, 512, 599}) {
      const std::vector<float> one(x.begin() + i * columns, x.begin() + (i + 1) * columns);
      const std::vector<float> y = alone.multiply(*loaded, one, 1);
      ASSERT_EQ(0, std::memcmp(y.data(), batch.data() + i * rows, y.size() * sizeof(float)))
          << "row " << i << " of " << rows << "x" << columns;
    }
    // Few rows have kernels of their own, which take several groups of the weight at a time.
    for (const std::int64_t count : {2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 25, 31, 32, 33}) {
      const std::vector<float> few(x.begin(), x.begin() + count * columns);
      const std::vector<float> y = alone.multiply(*loaded, few, count);
      ASSERT_EQ(0, std::memcmp(y.data(), batch.data(), y.size() * sizeof(float)))
          << count << " rows of " << rows << "x" << columns;
    }
  }
}

TEST_P(RoundedMatmul, IsTheSameBitsOnEveryInstructionSet) {
  Engine engine(set());
  Engine portable(InstructionSet::kPortable);
  for (const auto& [rows, columns] : shapes()) {
    const FileWeight weight(type(), 1, rows, columns);
    const std::vector<float> x = gaussian(9 * columns, 29);
    for (const std::int64_t num_rows : {2, 9}) {
      const std::vector<float> mine = engine.multiply(
          *engine.load(weight), {x.begin(), x.begin() + num_rows * columns}, num_rows);
      const std::vector<float> theirs = portable.multiply(
          *portable.load(weight), {x.begin(), x.begin() + num_rows * columns}, num_rows);
      ASSERT_EQ(0, std::memcmp(mine.data(), theirs.data(), mine.size() * sizeof(float)));
    }
  }
}

// Codes turn where a product lies in the middle of two, so it takes millions to see that every
// instruction set rounds alike.
TEST(RoundedRows, AreTheSameBitsOnEveryInstructionSet) {
  constexpr std::int64_t kColumns = 1 << 22;
  const std::vector<float> x = gaussian(kColumns, 1);
  std::vector<RoundedChunk> want(kColumns / kChunkColumns);
  round_row(x.data(), kColumns, 1, want.data());
  for (const InstructionSet set : available_sets()) {
    std::vector<RoundedChunk> is(want.size());
    rounded_kernels(set).round_row(x.data(), kColumns, 1, is.data());
    for (std::size_t c = 0; c < want.size(); ++c) {
      ASSERT_EQ(0, std::memcmp(is[c].codes, want[c].codes, sizeof(want[c].codes)))
          << name_of(set) << " chunk " << c;
      ASSERT_EQ(0, std::memcmp(is[c].scales, want[c].scales, sizeof(want[c].scales)));
      ASSERT_EQ(0, std::memcmp(is[c].code_sums, want[c].code_sums, sizeof(want[c].code_sums)));
    }
  }
}

TEST_P(Matmul, FloatArithmeticIsExactButForRounding) {
  Engine engine(set(), 2, Arithmetic::kFloat);
  for (const auto& [rows, columns] : shapes()) {
    const FileWeight weight(type(), 1, rows, columns);
    const std::vector<float> x = gaussian(3 * columns, 31);
    const std::vector<float> y = engine.multiply(*engine.load(weight), x, 3);
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t row = 0; row < rows; ++row) {
        double exact = 0;
        double magnitude = 0;
        for (std::int64_t c = 0; c < columns; ++c) {
          const double term = static_cast<double>(weight.row(0, row)[c]) *
                              x[static_cast<std::size_t>(i * columns + c)];
          exact += term;
          magnitude += std::fabs(term);
        }
        // 16 additions in float for each of 16 partial sums, the product, and the result.
        ASSERT_NEAR(y[static_cast<std::size_t>(i * rows + row)], exact, 18 * kEps * magnitude);
      }
    }
  }
}

TEST_P(Matmul, NoMemoryBeyondTheFilesBlocks) {
  Engine engine(set());
  const FileWeight weight(type(), 1, 64, 1024);
  EXPECT_LE(static_cast<double>(engine.load(weight)->size_bytes()),
            1.05 * static_cast<double>(weight.bytes.size()));
}

TEST_P(Matmul, ExpertsTakeTheirOwnRows) {
  Engine engine(set(), 2);
  const std::int64_t columns = traits_of(type()).block_elements == 256 ? 256 : 64;
  const FileWeight weight(type(), 3, 20, columns);
  const auto loaded = engine.load(weight);
  constexpr std::int32_t kTokens = 7;
  constexpr std::int32_t kTopK = 2;
  // Experts 4, 5 and 6 of the model are this shard's; the others' results are zeroes.
  const std::vector<std::int32_t> ids = {4, 5, 6, 4, 0, 5, 7, 9, 5, 6, 4, 6, 5, 4};
  for (const bool row_a_token : {true, false}) {
    const std::int64_t x_rows = row_a_token ? kTokens : kTokens * kTopK;
    std::vector<float> x = representable(x_rows, columns, 37);
    std::vector<float> y(static_cast<std::size_t>(kTokens * kTopK * weight.rows), -7.0f);
    const ExpertMatmulTarget target{loaded.get(), dense(y.data(), kTokens * kTopK, weight.rows)};
    ExpertMatmulArgs args;
    args.x = dense(x.data(), x_rows, columns);
    args.targets = std::span(&target, 1);
    args.expert_ids = ids.data();
    args.num_tokens = kTokens;
    args.top_k = kTopK;
    args.first_expert = 4;
    engine.matmul.expert_matmul(args);
    for (std::int64_t choice = 0; choice < kTokens * kTopK; ++choice) {
      const std::int64_t expert = ids[static_cast<std::size_t>(choice)] - 4;
      const float* x_row = x.data() + (row_a_token ? choice / kTopK : choice) * columns;
      for (std::int64_t row = 0; row < weight.rows; ++row) {
        const float got = y[static_cast<std::size_t>(choice * weight.rows + row)];
        if (expert < 0 || expert > 2) {
          ASSERT_EQ(got, 0.0f);
          continue;
        }
        // bfloat16 has eight bits for an integer of seven: nothing is rounded there either.
        const Reference want = reference(weight, expert, row, x_row, {});
        ASSERT_NEAR(got, want.exact, want.tolerance) << "choice " << choice << " row " << row;
      }
    }
  }
}

TEST_P(Matmul, TargetsOfOneCallAndBiases) {
  Engine engine(set(), 2);
  const FileWeight first(type(), 1, 33, 512, 1);
  const FileWeight second(ElementType::kQ6_K, 1, 70, 512, 2);
  const FileWeight none(type(), 1, 0, 512, 2);
  const auto a = engine.load(first);
  const auto b = engine.load(second);
  const auto c = engine.load(none);
  std::vector<float> x = representable(5, 512, 41);
  const std::vector<float> bias = gaussian(70, 43);
  std::vector<float> y(5 * 200, -7.0f);
  const MatrixView all = dense(y.data(), 5, 200);
  const std::vector<MatmulTarget> targets = {{a.get(), nullptr, all.slice_columns(0, 33)},
                                             {c.get(), nullptr, all.slice_columns(40, 0)},
                                             {b.get(), bias.data(), all.slice_columns(40, 70)}};
  engine.matmul.matmul(dense(x.data(), 5, 512), targets);
  for (std::int64_t i = 0; i < 5; ++i) {
    const Reference one = reference(first, 0, 32, x.data() + i * 512, {});
    EXPECT_NEAR(all.row(i)[32], one.exact, one.tolerance);
    const Reference two = reference(second, 0, 69, x.data() + i * 512, {});
    EXPECT_NEAR(all.row(i)[40 + 69], two.exact + bias[69],
                two.tolerance + kEps * (std::fabs(two.exact) + 4));
    for (const int untouched : {33, 39, 110, 199}) EXPECT_EQ(all.row(i)[untouched], -7.0f);
  }
}

TEST_P(Matmul, NotANumberStaysVisible) {
  Engine engine(set());
  const FileWeight weight(type(), 1, 17, 512);
  std::vector<float> x = gaussian(2 * 512, 47);
  x[300] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> y = engine.multiply(*engine.load(weight), x, 2);
  for (int row = 0; row < 17; ++row) {
    EXPECT_TRUE(std::isnan(y[static_cast<std::size_t>(row)]));
    EXPECT_FALSE(std::isnan(y[static_cast<std::size_t>(17 + row)]));
  }
}

}  // namespace
}  // namespace tandem
