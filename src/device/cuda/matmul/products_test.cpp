#include "device/cuda/matmul/products.h"

#include <cmath>
#include <limits>
#include <string>

#include "device/cuda/elementwise.h"
#include "device/cuda/matmul/file_weight_for_test.h"
#include "device/cuda/matmul/product_kernels.h"
#include "device/cuda/matmul/rounded_x.h"

namespace tandem::cuda {
namespace {

std::vector<ElementType> weight_types(bool with_f32) {
  std::vector<ElementType> types;
  for (const ElementTypeTraits& traits : all_element_types()) {
    if (traits.type == ElementType::kI32) continue;
    if (traits.type != ElementType::kF32 || with_f32) types.push_back(traits.type);
  }
  return types;
}
std::string type_name(const testing::TestParamInfo<ElementType>& test) {
  return std::string(traits_of(test.param).name);
}

// What rounding x may change in column c: half a step of 1/127 of the largest magnitude of its
// block of 32; for halves, half a unit in the last place.
double rounding_of_x(ElementType type, const float* x, std::int64_t c) {
  const double size = std::fabs(static_cast<double>(x[c]));
  if (type == ElementType::kF32) return 0;
  if (type == ElementType::kF16) return size * 0x1p-11;
  if (type == ElementType::kBF16) return size * 0x1p-8;
  double largest = 0;
  for (std::int64_t i = c / 32 * 32; i < c / 32 * 32 + 32; ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(x[i])));
  }
  return largest / 127 / 2;
}

// The exact product and a bound on the error of one output:
//
//   sum |w_c| r_c   (r_c as above; zero where x is representable)
//   + n eps sum (|w_c| + 2 shift)(|x_c| + r_c)
//
// n counts the roundings a term passes through (product_step.h): of x's scale and code, the
// weight's scale, the block's product (two for small blocks), its sum of x; then one for each later
// addition: up to three a block of 32 columns, and seven for the warps' sums. Floats: one a column,
// two on tensor cores, whose additions are not documented and may truncate. Level times scale and
// the min are separate terms, each at most |w| + shift.
struct Expected {
  double value = 0;
  double tolerance = 0;
};
Expected expected(const FileWeight& weight, std::int64_t expert, std::int64_t row, const float* x,
                  bool exact_x) {
  Expected result;
  double magnitude = 0;
  const double shift = weight.largest_shift(expert, row);
  const float* w = weight.row(expert, row);
  for (std::int64_t c = 0; c < weight.columns; ++c) {
    const double r = exact_x ? 0 : rounding_of_x(weight.type, x, c);
    result.value += static_cast<double>(w[c]) * x[c];
    result.tolerance += std::fabs(static_cast<double>(w[c])) * r;
    magnitude += (std::fabs(static_cast<double>(w[c])) + 2 * shift) *
                 (std::fabs(static_cast<double>(x[c])) + r);
  }
  const auto columns = static_cast<double>(weight.columns);
  const double n = traits_of(weight.type).is_quantised ? 3 * columns / 32 + 7 + 6 : 2 * columns + 8;
  result.tolerance += n * kEps * magnitude;
  return result;
}

// Rounds x, runs one of the kernels, and returns y, [num_rows, rows].
std::vector<float> run_kernel(const WeightView& weight, ProductKernels::Start start, int width,
                              const std::vector<float>& x, std::int64_t num_rows) {
  TestStream stream;
  const DeviceArray<float> x_memory(x);
  const RoundedForm form = rounded_form_for(weight.type);
  const DeviceArray<std::uint8_t> rounded_memory(rounded_bytes(form, num_rows, weight.columns));
  const RoundedX rounded = rounded_at(form, num_rows, weight.columns, rounded_memory.data());
  EXPECT_EQ(round_rows(stream, form, dense(x_memory.data(), num_rows, weight.columns), rounded),
            cudaSuccess);
  const DeviceArray<float> y(num_rows * weight.rows);
  const FragmentTraits traits = fragment_traits(weight.type);
  ProductBatch batch;
  ProductTarget& target = batch.targets[0];
  target.weight = reinterpret_cast<const std::uint8_t*>(weight.data);
  target.y = y.data();
  target.y_stride = weight.rows;
  target.rows = static_cast<std::int32_t>(weight.rows);
  batch.num_targets = 1;
  batch.num_groups = static_cast<std::int32_t>((weight.rows + 15) / 16);
  batch.num_chunks = static_cast<std::int32_t>(traits.num_units(weight.columns) * traits.chunks);
  batch.group_bytes = kGroupRows * weight.row_bytes;
  batch.x = rounded;
  batch.num_rows = static_cast<std::int32_t>(num_rows);
  EXPECT_EQ(start(stream, batch, static_cast<int>((num_rows + width - 1) / width)), cudaSuccess);
  stream.expect_done();
  return y.to_host();
}

class ProductTypes : public testing::TestWithParam<ElementType> {
 protected:
  ElementType type() const { return GetParam(); }
  // Rows and columns that fill no tile, group, step or chunk; and one block alone.
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes() const {
    const std::int64_t block = traits_of(type()).block_elements;
    if (block == 1) return {{5, 1}, {37, 301}};
    if (block == 256) return {{3, 256}, {37, 768}};
    return {{3, 32}, {37, 672}};
  }
  // kernel: 0 few, 1 some, 2 many.
  std::vector<float> run(const WeightView& weight, int kernel, const std::vector<float>& x,
                         std::int64_t num_rows) const {
    const ProductKernels kernels = product_kernels(type());
    const ProductKernels::Start starts[] = {kernels.few, kernels.some, kernels.many};
    constexpr int kWidths[] = {kFewRows, kSomeRows, kManyRows};
    return run_kernel(weight, starts[kernel], kWidths[kernel], x, num_rows);
  }
  void expect_products(const FileWeight& weight, const std::vector<float>& x, std::int64_t num_rows,
                       const std::vector<float>& y, bool exact_x) const {
    for (std::int64_t i = 0; i < num_rows; ++i) {
      for (std::int64_t row = 0; row < weight.rows; ++row) {
        const Expected want = expected(weight, 0, row, x.data() + i * weight.columns, exact_x);
        ASSERT_NEAR(y[static_cast<std::size_t>(i * weight.rows + row)], want.value, want.tolerance)
            << "row of x " << i << " of " << num_rows << ", row " << row << " of " << weight.rows
            << "x" << weight.columns;
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Types, ProductTypes, testing::ValuesIn(weight_types(false)), type_name);

TEST_P(ProductTypes, AreWithinTheRoundingOfActivations) {
  for (const auto& [rows, columns] : shapes()) {
    FileWeight weight(type(), 1, rows, columns);
    const WeightView packed = weight.packed();
    for (const auto& [kernel, num_rows] : {std::pair{0, 1}, {0, 5}, {1, 13}, {2, 9}}) {
      const std::vector<float> x = gaussian(num_rows * columns, 17);
      expect_products(weight, x, num_rows, run(packed, kernel, x, num_rows), false);
    }
  }
}

// Where rounding costs nothing, only the rounding of float additions is left: a tolerance that is
// thousands of times narrower, in which no wrong bit of a weight can hide.
TEST_P(ProductTypes, AreExactForRepresentableActivations) {
  for (const auto& [rows, columns] : shapes()) {
    FileWeight weight(type(), 1, rows, columns, 3);
    const WeightView packed = weight.packed();
    for (const auto& [kernel, num_rows] : {std::pair{0, 8}, {1, 33}, {2, 67}}) {
      const std::vector<float> x = representable(num_rows, columns, 19);
      expect_products(weight, x, num_rows, run(packed, kernel, x, num_rows), true);
    }
  }
}

TEST_P(ProductTypes, ARowsBitsDoNotDependOnItsBatch) {
  const auto [rows, columns] = shapes()[1];
  FileWeight weight(type(), 1, rows, columns);
  const WeightView packed = weight.packed();
  constexpr std::int64_t kRows = 33;
  const std::vector<float> x = gaussian(kRows * columns, 23);
  const std::vector<float> batch = run(packed, 1, x, kRows);
  const std::vector<float> tiles = run(packed, 2, x, kRows);
  for (const std::int64_t i : {0, 4, 32}) {
    const std::vector<float> one(x.begin() + i * columns, x.begin() + (i + 1) * columns);
    const std::size_t bytes = static_cast<std::size_t>(rows) * sizeof(float);
    EXPECT_EQ(0, std::memcmp(run(packed, 0, one, 1).data(), batch.data() + i * rows, bytes));
    EXPECT_EQ(0, std::memcmp(run(packed, 2, one, 1).data(), tiles.data() + i * rows, bytes));
  }
}

// Gate and up in one launch: the bits of two products and an activation.
TEST_P(ProductTypes, GatedAreTheBitsOfTheirParts) {
  const auto [rows, columns] = shapes()[1];
  FileWeight gate(type(), 1, rows, columns, 5), up(type(), 1, rows, columns, 6);
  for (const std::int64_t num_rows : {1, 7}) {
    const std::vector<float> x = gaussian(num_rows * columns, 29);
    const DeviceArray<float> x_memory(x), parts(2 * num_rows * rows), fused(num_rows * rows);
    const ProductInput input{dense(x_memory.data(), num_rows, columns)};
    const MatrixView gate_y = dense(parts.data(), num_rows, rows);
    const MatrixView up_y = dense(parts.data() + num_rows * rows, num_rows, rows);
    const ViewTarget targets[] = {{gate.packed(), nullptr, gate_y}, {up.packed(), nullptr, up_y}};
    const DeviceArray<std::uint8_t> scratch(products_scratch_bytes(input, targets));
    TestStream stream;
    ASSERT_EQ(products(stream, input, targets, scratch.data()), cudaSuccess);
    ASSERT_EQ(gated_activation(stream, GateKind::kSilu, gate_y, up_y), cudaSuccess);
    ASSERT_TRUE(has_gated_products(num_rows, targets[0], targets[1]));
    ViewTarget to = targets[0];
    to.y = dense(fused.data(), num_rows, rows);
    ASSERT_EQ(gated_products(stream, input, GateKind::kSilu, to, targets[1], scratch.data()),
              cudaSuccess);
    stream.expect_done();
    const std::vector<float> both = parts.to_host(), one = fused.to_host();
    ASSERT_EQ(0, std::memcmp(one.data(), both.data(), one.size() * sizeof(float))) << num_rows;
  }
}

TEST_P(ProductTypes, TakeNoMemoryBeyondTheFilesBlocks) {
  FileWeight weight(type(), 1, 64, 1024);
  const double ratio = type() == ElementType::kQ3_K ? 1.04 : 1.0;
  EXPECT_LE(static_cast<double>(weight.packed().expert_bytes),
            ratio * static_cast<double>(weight.file_bytes()));
}

class Products : public testing::TestWithParam<std::int64_t> {};
INSTANTIATE_TEST_SUITE_P(Rows, Products, testing::Values(1, 7, 40, 131));

TEST_P(Products, OfSeveralWeightsOfMixedTypesShareOneX) {
  const std::int64_t num_rows = GetParam();
  constexpr std::int64_t kColumns = 256, kStride = 290;
  FileWeight q(ElementType::kQ4_K, 1, 40, kColumns, 1);
  FileWeight k(ElementType::kQ4_K, 1, 16, kColumns, 2);
  FileWeight v(ElementType::kQ6_K, 1, 24, kColumns, 3);
  FileWeight f(ElementType::kF32, 1, 19, kColumns, 4);
  FileWeight h(ElementType::kF16, 1, 33, kColumns, 5);
  FileWeight* weights[] = {&q, &k, &v, &f, &h};
  // x and y are views whose rows are neither adjacent nor aligned; what lies between stays.
  const std::vector<float> x = gaussian(num_rows * kStride, 7);
  const DeviceArray<float> x_memory(x);
  const MatrixView x_view{x_memory.data() + 3, num_rows, kColumns, kStride};
  const DeviceArray<float> y_memory(num_rows * 200);
  const std::vector<float> bias = gaussian(40, 8);
  const DeviceArray<float> bias_memory(bias);
  std::vector<ViewTarget> targets;
  std::int64_t column = 1;
  for (FileWeight* weight : weights) {
    const MatrixView y{y_memory.data() + column, num_rows, weight->rows, 200};
    targets.push_back({weight->packed(), weight == &q ? bias_memory.data() : nullptr, y});
    column += weight->rows + 2;
  }
  const DeviceArray<std::uint8_t> scratch(products_scratch_bytes({x_view}, targets));
  TestStream stream;
  ASSERT_EQ(products(stream, {x_view}, targets, scratch.data()), cudaSuccess);
  stream.expect_done();
  const std::vector<float> y = y_memory.to_host();
  for (std::int64_t i = 0; i < num_rows; ++i) {
    const float* y_row = y.data() + i * 200;
    ASSERT_TRUE(std::isnan(y_row[0]));
    ++y_row;
    for (FileWeight* weight : weights) {
      for (std::int64_t row = 0; row < weight->rows; ++row) {
        const Expected want = expected(*weight, 0, row, x.data() + 3 + i * kStride, false);
        const double b = weight == &q ? bias[static_cast<std::size_t>(row)] : 0.0;
        ASSERT_NEAR(y_row[row], want.value + b,
                    want.tolerance + kEps * (std::fabs(want.value) + std::fabs(b)))
            << traits_of(weight->type).name << " row " << row << " of x " << i;
      }
      ASSERT_TRUE(std::isnan(y_row[weight->rows]) && std::isnan(y_row[weight->rows + 1]));
      y_row += weight->rows + 2;
    }
  }
}

class ExpertProductsOf : public testing::TestWithParam<ElementType> {};
INSTANTIATE_TEST_SUITE_P(Types, ExpertProductsOf,
                         testing::Values(ElementType::kF32, ElementType::kBF16, ElementType::kQ8_0,
                                         ElementType::kQ4_K, ElementType::kQ6_K,
                                         ElementType::kMXFP4),
                         type_name);

// Few pairs (one by one), some and many (sorted, in tiles of three widths).
TEST_P(ExpertProductsOf, TakeTheirOwnRows) {
  const std::int64_t columns = traits_of(GetParam()).block_elements == 256 ? 256 : 96;
  constexpr std::int32_t kExperts = 3, kFirst = 4, kTopK = 2, kRows = 20;
  FileWeight weight(GetParam(), kExperts, kRows, columns);
  const WeightView packed = weight.packed();
  for (const std::int32_t num_tokens : {3, 10, 40, 70}) {
    const std::int32_t num_pairs = num_tokens * kTopK;
    std::mt19937 random(static_cast<unsigned>(num_tokens));
    std::vector<std::int32_t> ids(static_cast<std::size_t>(num_pairs));
    // Experts 4, 5 and 6 of 8 are this shard's; the others' results are zeroes.
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % 8);
    const DeviceArray<std::int32_t> ids_memory(ids);
    for (const std::int32_t divisor : {kTopK, 1}) {
      const std::int32_t x_rows = num_pairs / divisor;
      const std::vector<float> x = gaussian(x_rows * columns, 11);
      const DeviceArray<float> x_memory(x);
      const DeviceArray<float> y_memory(static_cast<std::int64_t>(num_pairs) * kRows);
      const ViewTarget target{packed, nullptr, dense(y_memory.data(), num_pairs, kRows)};
      const ExpertProducts args{dense(x_memory.data(), x_rows, columns),
                                {&target, 1},
                                ids_memory.data(),
                                num_pairs,
                                divisor,
                                kFirst};
      const DeviceArray<std::uint8_t> scratch(expert_products_scratch_bytes(args));
      TestStream stream;
      ASSERT_EQ(expert_products(stream, args, scratch.data()), cudaSuccess);
      stream.expect_done();
      const std::vector<float> y = y_memory.to_host();
      for (std::int32_t pair = 0; pair < num_pairs; ++pair) {
        const std::int32_t expert = ids[static_cast<std::size_t>(pair)] - kFirst;
        for (std::int64_t row = 0; row < kRows; ++row) {
          const float got = y[static_cast<std::size_t>(pair * kRows + row)];
          if (expert < 0 || expert >= kExperts) {
            ASSERT_EQ(got, 0.0f);
            continue;
          }
          const Expected want =
              expected(weight, expert, row, x.data() + pair / divisor * columns, false);
          ASSERT_NEAR(got, want.value, want.tolerance) << "pair " << pair << " of " << num_pairs;
        }
      }
    }
  }
}

class GatedExpertProductsOf : public testing::TestWithParam<ElementType> {};
INSTANTIATE_TEST_SUITE_P(Types, GatedExpertProductsOf,
                         testing::Values(ElementType::kBF16, ElementType::kQ8_0, ElementType::kQ4_K,
                                         ElementType::kQ6_K, ElementType::kMXFP4),
                         type_name);

// The few pairs of a decoding step, some of experts that are elsewhere.
TEST_P(GatedExpertProductsOf, AreTheBitsOfTheirParts) {
  const std::int64_t columns = traits_of(GetParam()).block_elements == 256 ? 256 : 96;
  constexpr std::int32_t kExperts = 3, kRows = 20, kPairs = 6;
  FileWeight gate(GetParam(), kExperts, kRows, columns, 7),
      up(GetParam(), kExperts, kRows, columns);
  const std::vector<std::int32_t> ids = {4, 6, 5, 9, 6, 0};
  const DeviceArray<std::int32_t> ids_memory(ids);
  const DeviceArray<float> x_memory(gaussian(kPairs / 2 * columns, 31));
  const DeviceArray<float> parts(std::int64_t{2} * kPairs * kRows), fused(kPairs * kRows);
  const MatrixView gate_y = dense(parts.data(), kPairs, kRows);
  const MatrixView up_y = dense(parts.data() + kPairs * kRows, kPairs, kRows);
  ViewTarget targets[] = {{gate.packed(), nullptr, gate_y}, {up.packed(), nullptr, up_y}};
  const ExpertProducts args{
      dense(x_memory.data(), kPairs / 2, columns), targets, ids_memory.data(), kPairs, 2, 4};
  const DeviceArray<std::uint8_t> scratch(expert_products_scratch_bytes(args));
  TestStream stream;
  ASSERT_EQ(expert_products(stream, args, scratch.data()), cudaSuccess);
  ASSERT_EQ(gated_activation(stream, GateKind::kGeluTanh, gate_y, up_y), cudaSuccess);
  ASSERT_TRUE(has_gated_expert_products(args));
  targets[0].y = dense(fused.data(), kPairs, kRows);
  ASSERT_EQ(gated_expert_products(stream, args, GateKind::kGeluTanh, scratch.data()), cudaSuccess);
  stream.expect_done();
  const std::vector<float> both = parts.to_host(), one = fused.to_host();
  EXPECT_EQ(0, std::memcmp(one.data(), both.data(), one.size() * sizeof(float)));
}

}  // namespace
}  // namespace tandem::cuda
