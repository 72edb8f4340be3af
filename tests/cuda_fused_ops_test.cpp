// Ops that a CUDA device computes as one, against the sequences that they stand for: the same bits.
// On the emulated GPU and on real ones.
#include <gtest/gtest.h>

#include <random>

#include "support/cuda_gpus.h"
#include "tensor/quantise.h"

namespace tandem::test {
namespace {

constexpr std::int64_t kDeadlineUs = 60'000'000;
constexpr std::int64_t kHidden = 320, kWidth = 96;
constexpr float kEps = 1e-5f;

struct FusedCase {
  ElementType gate, up;
  std::int64_t rows;
};

class FusedNorm : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_run_cuda(false)) GTEST_SKIP() << "no GPU here: nothing of this was run on one";
    device_ = cuda_device_maker(Arithmetic::kInt8)(0).value();
    stream_ = device_->create_stream();
  }

  std::vector<float> random(std::int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = normal(generator_);
    return values;
  }

  // `count` floats on the device.
  std::unique_ptr<Buffer> put(const std::vector<float>& values) {
    const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(float));
    auto buffer = device_->allocate(bytes).value();
    stream_->copy_to_device(buffer->data(), values.data(), bytes);
    EXPECT_TRUE(stream_->synchronize(kDeadlineUs).ok());
    return buffer;
  }
  std::vector<float> get(Buffer& buffer) {
    std::vector<float> values(static_cast<std::size_t>(buffer.size_bytes()) / sizeof(float));
    stream_->copy_to_host(values.data(), buffer.data(), buffer.size_bytes());
    const Status status = stream_->synchronize(kDeadlineUs);
    EXPECT_TRUE(status.ok()) << status.error().to_string();
    return values;
  }

  std::unique_ptr<Weight> load(ElementType type, std::int64_t experts = 1) {
    const std::vector<float> values = random(experts * kWidth * kHidden);
    const std::int64_t row_bytes = *bytes_of(type, kHidden);
    std::vector<std::byte> bytes(static_cast<std::size_t>(experts * kWidth * row_bytes));
    quantise(type, values, bytes);
    WeightSource source{type, experts, kWidth, kHidden, {}, {}};
    source.row_bytes = [&](std::int64_t expert, std::int64_t row) {
      return std::span<const std::byte>(bytes).subspan(
          static_cast<std::size_t>((expert * kWidth + row) * row_bytes),
          static_cast<std::size_t>(row_bytes));
    };
    return device_->load_weight(source).value();
  }

  std::mt19937 generator_{11};
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
};

class FusedOps : public FusedNorm, public testing::WithParamInterface<FusedCase> {};

// One op after another.
void norm_gate_and_up(Stream& stream, const NormArgs& norm, const MatmulTarget& gate,
                      const MatmulTarget& up) {
  const MatmulTarget targets[] = {gate, up};
  stream.add(norm.x, norm.residual);
  stream.rms_norm(norm.x, norm.weight, norm.eps, norm.out);
  stream.matmul(norm.out, targets);
  stream.gated_activation(GateKind::kSilu, gate.y, up.y);
}

TEST_P(FusedOps, NormGateAndUpAreTheBitsOfTheirParts) {
  const FusedCase& one = GetParam();
  const auto gate = load(one.gate), up = load(one.up);
  const std::vector<float> hidden = random(one.rows * kHidden);
  const auto residual = put(random(one.rows * kHidden)), weight = put(random(kHidden));
  std::vector<float> results[2], hiddens[2];
  for (const bool fused : {false, true}) {
    const auto x = put(hidden), normed = put(hidden);
    const auto y = put(random(one.rows * kWidth)), z = put(random(one.rows * kWidth));
    const NormArgs norm{dense(x->floats(), one.rows, kHidden),
                        dense(residual->floats(), one.rows, kHidden), weight->floats(), kEps,
                        dense(normed->floats(), one.rows, kHidden)};
    const MatmulTarget to_gate{gate.get(), nullptr, dense(y->floats(), one.rows, kWidth)};
    const MatmulTarget to_up{up.get(), nullptr, dense(z->floats(), one.rows, kWidth)};
    if (fused) {
      stream_->norm_gated_matmul(norm, GateKind::kSilu, to_gate, to_up);
    } else {
      norm_gate_and_up(*stream_, norm, to_gate, to_up);
    }
    results[fused] = get(*y);
    hiddens[fused] = get(*x);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(hiddens[0], hiddens[1]) << "the residual was not added alike";
}

TEST_P(FusedOps, NormAndProductsAreTheBitsOfTheirParts) {
  const FusedCase& one = GetParam();
  const auto first = load(one.gate), second = load(one.up);
  const auto x = put(random(one.rows * kHidden)), weight = put(random(kHidden));
  const auto bias = put(random(kWidth));
  std::vector<float> results[2][2];
  for (const bool fused : {false, true}) {
    const auto normed = put(random(one.rows * kHidden));
    const auto y = put(random(one.rows * kWidth)), z = put(random(one.rows * kWidth));
    const NormArgs norm{dense(x->floats(), one.rows, kHidden),
                        {},
                        weight->floats(),
                        kEps,
                        dense(normed->floats(), one.rows, kHidden)};
    const MatmulTarget targets[] = {
        {first.get(), bias->floats(), dense(y->floats(), one.rows, kWidth)},
        {second.get(), nullptr, dense(z->floats(), one.rows, kWidth)}};
    if (fused) {
      stream_->norm_matmul(norm, targets);
    } else {
      stream_->rms_norm(norm.x, norm.weight, norm.eps, norm.out);
      stream_->matmul(norm.out, targets);
    }
    results[fused][0] = get(*y);
    results[fused][1] = get(*z);
  }
  EXPECT_EQ(results[0][0], results[1][0]);
  EXPECT_EQ(results[0][1], results[1][1]);
}

INSTANTIATE_TEST_SUITE_P(Types, FusedOps,
                         testing::Values(FusedCase{ElementType::kQ8_0, ElementType::kQ8_0, 1},
                                         FusedCase{ElementType::kQ4_0, ElementType::kQ5_1, 3},
                                         FusedCase{ElementType::kQ8_0, ElementType::kF16, 2},
                                         FusedCase{ElementType::kF32, ElementType::kF32, 2},
                                         FusedCase{ElementType::kBF16, ElementType::kBF16, 5},
                                         FusedCase{ElementType::kQ4_0, ElementType::kQ4_0, 12}),
                         [](const auto& param) { return "case" + std::to_string(param.index); });

// Rows that no block of threads holds in registers.
TEST_F(FusedNorm, WideRowsTakeTheirResidualToo) {
  constexpr std::int64_t kColumns = 16384 + 40, kRows = 2;
  const std::vector<float> hidden = random(kRows * kColumns);
  const auto residual = put(random(kRows * kColumns)), weight = put(random(kColumns));
  std::vector<float> results[2];
  for (const bool fused : {false, true}) {
    const auto x = put(hidden), out = put(hidden);
    const NormArgs norm{dense(x->floats(), kRows, kColumns),
                        dense(residual->floats(), kRows, kColumns), weight->floats(), kEps,
                        dense(out->floats(), kRows, kColumns)};
    if (fused) {
      stream_->add_norm(norm);
    } else {
      stream_->add(norm.x, norm.residual);
      stream_->rms_norm(norm.x, norm.weight, norm.eps, norm.out);
    }
    results[fused] = get(*out);
  }
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
}  // namespace tandem::test
