#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "device/ops_backend.h"
#include "tensor/half.h"
#include "tensor/quantise.h"

namespace tandem {
namespace {

constexpr std::int64_t kSizes[] = {1, 2, 15, 16, 17, 63, 64, 100, 2048, 8195};

class RowOps : public OpsTest {
 protected:
  // A matrix whose rows lie further apart than they are long, over `storage`.
  static MatrixView spaced(std::vector<float>& storage, std::int64_t rows, std::int64_t columns) {
    storage.resize(static_cast<std::size_t>(rows * (columns + 5)), 77.0f);
    return {storage.data(), rows, columns, columns + 5};
  }
  void fill(MatrixView x, float largest) {
    for (std::int64_t i = 0; i < x.rows; ++i) {
      const std::vector<float> row = random(x.columns, largest);
      std::copy(row.begin(), row.end(), x.row(i));
    }
  }
};
TANDEM_FOR_EVERY_BACKEND(RowOps);

void expect_near(double expected, float actual, double tolerance) {
  EXPECT_NEAR(expected, static_cast<double>(actual), tolerance);
}

TEST_P(RowOps, RmsNormMatchesItsFormula) {
  for (const std::int64_t n : kSizes) {
    std::vector<float> x_storage, out_storage;
    const MatrixView x = spaced(x_storage, 9, n);
    const MatrixView out = spaced(out_storage, 9, n);
    fill(x, 3.0f);
    const std::vector<float> weight = random(n, 2.0f);
    stream().rms_norm(x, weight.data(), 1e-5f, out);
    // A sum of n / 64 squares a lane, added up in six steps; its error is halved by the root. Then
    // a division, a root, a quotient and two products.
    const double tolerance = kRounding * (0.5 * (static_cast<double>(n) / 64 + 8) + 6);
    for (std::int64_t i = 0; i < 9; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j < n; ++j) {
        sum += static_cast<double>(x.row(i)[j]) * static_cast<double>(x.row(i)[j]);
      }
      const double scale = 1 / std::sqrt(sum / static_cast<double>(n) + static_cast<double>(1e-5f));
      for (std::int64_t j = 0; j < n; ++j) {
        const double expected = static_cast<double>(x.row(i)[j]) * scale *
                                static_cast<double>(weight[static_cast<std::size_t>(j)]);
        expect_near(expected, out.row(i)[j], tolerance * std::fabs(expected));
      }
      for (std::int64_t j = n; j < out.row_stride; ++j) EXPECT_EQ(out.row(i)[j], 77.0f);
    }
    std::vector<float> in_place(x.row(3), x.row(3) + n);
    const MatrixView same = dense(in_place.data(), 1, n);
    stream().rms_norm(same, weight.data(), 1e-5f, same);
    EXPECT_TRUE(std::equal(in_place.begin(), in_place.end(), out.row(3)));
  }
}

TEST_P(RowOps, RmsNormOfHeadsIsRmsNormOfEach) {
  for (const std::int32_t head_dim : {8, 40, 64}) {
    const std::int64_t columns = 5 * head_dim;
    std::vector<float> x = random(7 * columns), expected(x.size());
    const std::vector<float> weight = random(head_dim);
    stream().rms_norm(dense(x.data(), 7 * 5, head_dim), weight.data(), 1e-6f,
                      dense(expected.data(), 7 * 5, head_dim));
    stream().rms_norm_heads(dense(x.data(), 7, columns), head_dim, weight.data(), 1e-6f);
    EXPECT_EQ(x, expected);
  }
}

TEST_P(RowOps, AddAdds) {
  for (const std::int64_t n : kSizes) {
    std::vector<float> x_storage, y_storage;
    const MatrixView x = spaced(x_storage, 11, n);
    const MatrixView y = spaced(y_storage, 11, n);
    fill(x, 1);
    fill(y, 1);
    const std::vector<float> before = x_storage;
    stream().add(x, y);
    for (std::int64_t i = 0; i < 11; ++i) {
      for (std::int64_t j = 0; j < x.row_stride; ++j) {
        const float old = before[static_cast<std::size_t>(i * x.row_stride + j)];
        EXPECT_EQ(x.row(i)[j], j < n ? old + y.row(i)[j] : 77.0f);
      }
    }
  }
}

// Values where an exponential is easily wrong, and random ones.
std::vector<float> awkward(std::vector<float> values) {
  const float extremes[] = {0.0f,   -0.0f,  1e-30f, -1e-30f, 1e-4f,  -1e-4f, 0.62f,
                            -0.63f, 10.0f,  -10.0f, 20.0f,   -20.0f, 86.0f,  -86.0f,
                            87.5f,  -87.5f, 100.0f, -100.0f, 1e30f,  -1e30f};
  std::copy_n(std::begin(extremes), std::min(values.size(), std::size(extremes)), values.begin());
  return values;
}

TEST_P(RowOps, GatedActivationsMatchTheirFormulas) {
  for (const std::int64_t n : {1, 17, 100, 9000}) {
    for (const GateKind kind : {GateKind::kSilu, GateKind::kGeluTanh}) {
      std::vector<float> both = awkward(random(3 * 2 * n, 12.0f));
      const std::vector<float> before = both;
      // up beside gate in one matrix, as the layers have it
      const MatrixView gate{both.data(), 3, n, 2 * n};
      const MatrixView up{both.data() + n, 3, n, 2 * n};
      stream().gated_activation(kind, gate, up);
      for (std::int64_t i = 0; i < 3; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          const auto at = static_cast<std::size_t>(i * 2 * n + j);
          const double x = before[at];
          const double argument =
              kind == GateKind::kSilu
                  ? x
                  : 2 * std::sqrt(2 / M_PI) * (x + static_cast<double>(0.044715f) * x * x * x);
          const double expected = x / (1 + std::exp(-argument)) *
                                  static_cast<double>(both[at + static_cast<std::size_t>(n)]);
          // The rounding of gelu's argument (five operations) is magnified by the argument.
          const double magnified =
              kind == GateKind::kSilu ? 0.0 : 6 * std::min(std::fabs(argument), 90.0);
          const double tolerance = kRounding * (10 + magnified) * std::fabs(expected) + 1e-35;
          if (std::fabs(x) < 1e20) expect_near(expected, both[at], tolerance);
          EXPECT_EQ(up.row(i)[j], before[at + static_cast<std::size_t>(n)]);
        }
      }
    }
  }
}

TEST_P(RowOps, SoftCapMatchesItsFormula) {
  for (const std::int64_t n : {1, 17, 9001}) {
    for (const float cap : {30.0f, 50.0f}) {
      std::vector<float> x = awkward(random(3 * n, 90.0f));
      const std::vector<float> before = x;
      stream().soft_cap(dense(x.data(), 3, n), cap);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double expected =
            static_cast<double>(cap) *
            std::tanh(static_cast<double>(before[i]) / static_cast<double>(cap));
        expect_near(expected, x[i], 12 * kRounding * std::fabs(expected));
      }
    }
  }
}

TEST_P(RowOps, EmbedDequantisesAndScales) {
  const std::int64_t columns = 96, vocabulary = 50;
  const std::vector<float> weights = random(vocabulary * columns);
  for (const ElementType type : {ElementType::kF32, ElementType::kF16, ElementType::kQ8_0}) {
    std::vector<std::byte> table(static_cast<std::size_t>(*bytes_of(type, vocabulary * columns)));
    quantise(type, weights, table);
    std::vector<float> plain(weights.size());
    dequantise(type, table, plain);
    std::vector<std::int32_t> ids = {49, 0, 7, 7, 31};
    for (int i = 0; i < 60; ++i) ids.push_back(i % 50);
    std::vector<float> out(ids.size() * static_cast<std::size_t>(columns));
    stream().embed(type, table, ids, 2.5f,
                   dense(out.data(), static_cast<std::int64_t>(ids.size()), columns));
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto id = static_cast<std::size_t>(ids[i / 96]);
      EXPECT_EQ(out[i], plain[id * 96 + i % 96] * 2.5f);
    }
  }
  EXPECT_TRUE(stream().synchronize(0).ok());
}

TEST_P(RowOps, EmbedOfAnUnknownIdPoisonsTheStream) {
  std::vector<float> table(4 * 8, 1.0f), out(8, 5.0f);
  const std::int32_t id = 4;
  stream().embed(ElementType::kF32, std::as_bytes(std::span(table)), {&id, 1}, 1.0f,
                 dense(out.data(), 1, 8));
  const Status status = stream().synchronize(0);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(stream().record()->wait(0).error().code, ErrorCode::kInvalidArgument);
  stream().fill_zero(out.data(), 32);
  EXPECT_EQ(out, std::vector<float>(8, 5.0f)) << "a poisoned stream does nothing";
}

TEST_P(RowOps, GatherRowsTakesRowsInOrder) {
  std::vector<float> x = random(6 * 33), out(4 * 33);
  const std::int32_t indices[] = {5, 0, 5, 2};
  stream().gather_rows(dense(x.data(), 6, 33), indices, dense(out.data(), 4, 33));
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(
        std::equal(out.data() + i * 33, out.data() + (i + 1) * 33, x.data() + indices[i] * 33));
  }
}

TEST_P(RowOps, TopKIsTheSortedHeadWithTiesToTheLowerIndex) {
  for (const std::int64_t n : {1, 5, 64, 100, 1000, 50'001}) {
    std::vector<float> x = random(3 * n);
    for (float& value : x) value = std::round(value * 200);  // many ties
    for (const std::int32_t k : {1, 2, 5, 40, 200}) {
      if (k > n) continue;
      std::vector<float> values(static_cast<std::size_t>(3 * k));
      std::vector<std::int32_t> indices(static_cast<std::size_t>(3 * k));
      stream().top_k(dense(x.data(), 3, n), k, values.data(), indices.data());
      for (std::int64_t row = 0; row < 3; ++row) {
        std::vector<std::int32_t> order(static_cast<std::size_t>(n));
        std::iota(order.begin(), order.end(), 0);
        const float* data = x.data() + row * n;
        std::stable_sort(order.begin(), order.end(),
                         [&](std::int32_t a, std::int32_t b) { return data[a] > data[b]; });
        for (std::int32_t j = 0; j < k; ++j) {
          const auto at = static_cast<std::size_t>(row * k + j);
          EXPECT_EQ(indices[at], order[static_cast<std::size_t>(j)]);
          EXPECT_EQ(values[at], data[indices[at]]);
        }
      }
    }
  }
}

TEST_P(RowOps, TopKPutsWhatIsNoNumberLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x(70, nan);
  x[66] = 1.0f;
  x[3] = -2.0f;
  float values[3];
  std::int32_t indices[3];
  stream().top_k(dense(x.data(), 1, 70), 3, values, indices);
  EXPECT_EQ(indices[0], 66);
  EXPECT_EQ(indices[1], 3);
  EXPECT_EQ(values[1], -2.0f);
}

TEST_P(RowOps, RouteExpertsChoosesTheMostProbable) {
  for (const std::int64_t num_experts : {2, 8, 60, 128}) {
    for (const bool normalise : {true, false}) {
      const std::int32_t k = 2;
      std::vector<float> logits = random(40 * num_experts, 4.0f);
      logits[1] = logits[0] = 4.5f;  // a tie for the first place of token 0
      std::vector<std::int32_t> ids(40 * k);
      std::vector<float> weights(40 * k);
      stream().route_experts(
          {dense(logits.data(), 40, num_experts), k, normalise, 1.5f, ids.data(), weights.data()});
      for (std::int64_t token = 0; token < 40; ++token) {
        const float* row = logits.data() + token * num_experts;
        std::vector<std::int32_t> order(static_cast<std::size_t>(num_experts));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](auto a, auto b) { return row[a] > row[b]; });
        double all = 0, chosen = 0;
        for (const std::int32_t id : order) all += std::exp(static_cast<double>(row[id]));
        for (std::int32_t j = 0; j < k; ++j)
          chosen += std::exp(static_cast<double>(row[order[static_cast<std::size_t>(j)]]));
        for (std::int32_t j = 0; j < k; ++j) {
          const auto at = static_cast<std::size_t>(token * k + j);
          EXPECT_EQ(ids[at], order[static_cast<std::size_t>(j)]);
          const double expected =
              1.5 * std::exp(static_cast<double>(row[ids[at]])) / (normalise ? chosen : all);
          // the exponential's argument is rounded: at most 8.5 half units
          expect_near(expected, weights[at], 40 * kRounding * expected);
        }
      }
    }
  }
}

TEST_P(RowOps, CombineExpertsWeighsAndAdds) {
  for (const std::int64_t n : {1, 33, 2048}) {
    std::vector<float> y = random(5 * 3 * n), weights = random(5 * 3),
                       out(static_cast<std::size_t>(5 * n), 9.0f);
    stream().combine_experts(dense(y.data(), 15, n), weights.data(), 3, dense(out.data(), 5, n));
    for (std::int64_t i = 0; i < 5; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double expected = 0, size = 0;
        for (std::int64_t choice = 0; choice < 3; ++choice) {
          const double term =
              static_cast<double>(y[static_cast<std::size_t>((i * 3 + choice) * n + j)]) *
              static_cast<double>(weights[static_cast<std::size_t>(i * 3 + choice)]);
          expected += term;
          size += std::fabs(term);
        }
        expect_near(expected, out[static_cast<std::size_t>(i * n + j)], 4 * kRounding * size);
      }
    }
  }
}

TEST_P(RowOps, RopeTurnsPairsAndLeavesTheRest) {
  const std::int32_t head_dim = 72;
  for (const RopeStyle style : {RopeStyle::kAdjacentPairs, RopeStyle::kHalves}) {
    for (const std::int32_t rope_dims : {2, 34, 64, 72}) {
      const std::int32_t pairs = rope_dims / 2;
      std::vector<float> frequencies(static_cast<std::size_t>(pairs));
      for (std::int32_t i = 0; i < pairs; ++i) {
        frequencies[static_cast<std::size_t>(i)] =
            static_cast<float>(std::pow(10000.0, -2.0 * i / rope_dims));
      }
      std::vector<std::int32_t> positions = {0, 1, 2, 77, 4095, 131'071, 1'000'000};
      for (std::int32_t i = 0; i < 60; ++i) positions.push_back(i * 37);
      const auto tokens = static_cast<std::int64_t>(positions.size());
      std::vector<float> x = random(tokens * 3 * head_dim);
      const std::vector<float> before = x;
      stream().rope({dense(x.data(), tokens, 3 * head_dim), head_dim, rope_dims, style,
                     frequencies.data(), 1.25f, positions.data()});
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto d = static_cast<std::int32_t>(i % 72);
        if (d >= rope_dims) {
          EXPECT_EQ(x[i], before[i]);
          continue;
        }
        const bool halves = style == RopeStyle::kHalves;
        const bool second = halves ? d >= pairs : d % 2 == 1;
        const auto pair = static_cast<std::size_t>(halves ? d % pairs : d / 2);
        const std::size_t distance = halves ? static_cast<std::size_t>(pairs) : 1;
        const double a = before[second ? i - distance : i];
        const double b = before[second ? i : i + distance];
        const double angle =
            static_cast<double>(positions[i / (3 * 72)]) * static_cast<double>(frequencies[pair]);
        const double expected = 1.25 * (second ? a * std::sin(angle) + b * std::cos(angle)
                                               : a * std::cos(angle) - b * std::sin(angle));
        // The angle's remainder, the polynomial, the magnitude, a product and a sum.
        expect_near(expected, x[i], 6 * kRounding * 1.25 * (std::fabs(a) + std::fabs(b)));
      }
    }
  }
}

TEST_P(RowOps, NothingToDoIsNotTouched) {
  float x[16] = {};
  const MatrixView no_rows = dense(x, 0, 16), no_columns = dense(x, 4, 0);
  for (const MatrixView& empty : {no_rows, no_columns}) {
    stream().rms_norm(empty, nullptr, 1e-5f, empty);
    stream().rms_norm_heads(empty, 8, nullptr, 1e-5f);
    stream().add(empty, empty);
    stream().gated_activation(GateKind::kSilu, empty, empty);
    stream().soft_cap(empty, 30.0f);
    stream().combine_experts(empty, nullptr, 1, empty);
    stream().rope({empty, 8, 8, RopeStyle::kHalves, nullptr, 1.0f, nullptr});
    stream().store_kv(empty, empty, {nullptr, nullptr, ElementType::kF16, 1, 16, 0, 8}, {});
  }
  stream().gather_rows(no_rows, {}, no_rows);
  stream().embed(ElementType::kF32, {}, {}, 1.0f, no_rows);
  stream().top_k(no_rows, 3, nullptr, nullptr);
  stream().route_experts({no_rows, 2, true, 1.0f, nullptr, nullptr});
  stream().attention({});
  EXPECT_TRUE(stream().synchronize(0).ok());
}

// A row alone, among others, on one thread and on three: the same bits.
TEST_P(RowOps, RowsDoNotDependOnTheirCompany) {
  const std::int64_t n = 5003, rows = 37;
  std::vector<float> x = random(rows * n, 5.0f), y = random(rows * n), weight = random(n);
  std::vector<float> many(x.size()), one(x.size());
  const auto check = [&](auto op) {
    many = x;
    one = x;
    op(stream(), dense(many.data(), rows, n), dense(y.data(), rows, n));
    for (std::int64_t i = 0; i < rows; ++i) {
      op(serial_stream(), dense(one.data() + i * n, 1, n), dense(y.data() + i * n, 1, n));
    }
    EXPECT_EQ(std::memcmp(many.data(), one.data(), many.size() * sizeof(float)), 0);
  };
  check([&](Stream& s, MatrixView a, MatrixView) { s.rms_norm(a, weight.data(), 1e-5f, a); });
  check([&](Stream& s, MatrixView a, MatrixView b) { s.gated_activation(GateKind::kSilu, a, b); });
  check([&](Stream& s, MatrixView a, MatrixView b) {
    s.gated_activation(GateKind::kGeluTanh, a, b);
  });
  check([&](Stream& s, MatrixView a, MatrixView) { s.soft_cap(a, 3.0f); });
  check([&](Stream& s, MatrixView a, MatrixView b) { s.add(a, b); });
}

}  // namespace
}  // namespace tandem
