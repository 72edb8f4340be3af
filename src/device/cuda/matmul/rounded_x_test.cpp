#include "device/cuda/matmul/rounded_x.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "device/cuda/matmul/file_weight_for_test.h"
#include "device/cuda/norm.h"

namespace tandem::cuda {
namespace {

// The column that byte (or half) `place` of a chunk of rounded x holds; see fragment_layout.h.
int column_of(int place, bool halves) {
  if (halves) return 16 * (place / 4 % 2) + 8 * (place / 2 % 2) + 2 * (place / 8) + place % 2;
  return 32 * (place / 8 % 2) + 16 * (place / 4 % 2) + 4 * (place / 16) + place % 4;
}

TEST(RoundedRows, AreBytesWithAScaleFor32Columns) {
  constexpr std::int64_t kRows = 3, kColumns = 1120;  // half a chunk at the end
  std::vector<float> x = gaussian(kRows * kColumns, 5);
  for (int c = 32; c < 64; ++c) x[static_cast<std::size_t>(c)] = 0.0f;
  for (int c = 64; c < 96; ++c) x[static_cast<std::size_t>(c)] = 1e-38f;
  x[100] = std::numeric_limits<float>::infinity();
  x[130] = std::numeric_limits<float>::quiet_NaN();
  const DeviceArray<float> x_memory(x);
  const DeviceArray<std::uint8_t> memory(rounded_bytes(RoundedForm::kInt8, kRows, kColumns));
  const RoundedX rounded = rounded_at(RoundedForm::kInt8, kRows, kColumns, memory.data());
  TestStream stream;
  ASSERT_EQ(
      round_rows(stream, RoundedForm::kInt8, dense(x_memory.data(), kRows, kColumns), rounded),
      cudaSuccess);
  stream.expect_done();
  const std::vector<std::uint8_t> bytes = memory.to_host();
  const auto at = [&](const void* pointer) {
    return bytes.data() + (static_cast<const std::uint8_t*>(pointer) - memory.data());
  };
  const auto* scales = reinterpret_cast<const float*>(at(rounded.scales));
  const auto* sums = reinterpret_cast<const float*>(at(rounded.sums));
  const auto* half_sums = reinterpret_cast<const float*>(at(rounded.half_sums));
  const std::int64_t pad = rounded.row_pad;
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (std::int64_t block = 0; block < 36; ++block) {
      const float scale = scales[block * pad + row];
      double sum[2] = {};
      for (int place = 0; place < 64; ++place) {
        const std::int64_t column = block / 2 * 64 + column_of(place, false);
        if (column / 32 != block) continue;
        const auto code = static_cast<std::int8_t>(
            at(rounded.codes)[(block / 2 * pad + row) * kChunkBytes + place]);
        sum[column / 16 % 2] += code;
        if (column >= kColumns || std::isnan(scale)) continue;
        const float value = x[static_cast<std::size_t>(row * kColumns + column)];
        const double step = static_cast<double>(scale);
        EXPECT_LE(std::fabs(code * step - value), step * (0.5 + 1e-4) + 0x1p-100)
            << "row " << row << " column " << column;
      }
      const bool wild = row == 0 && (block == 3 || block == 4);
      EXPECT_EQ(std::isnan(scale), wild) << block;
      if (wild) continue;
      if (block == 35 || (row == 0 && (block == 1 || block == 2))) {
        EXPECT_EQ(scale, 0.0f);
      }
      EXPECT_EQ(half_sums[2 * block * pad + row], scale * static_cast<float>(sum[0]));
      EXPECT_EQ(half_sums[(2 * block + 1) * pad + row], scale * static_cast<float>(sum[1]));
      EXPECT_EQ(sums[block * pad + row], scale * static_cast<float>(sum[0] + sum[1]));
    }
  }
}

// Rows from the smallest floats to the largest keep float16's eleven bits.
TEST(RoundedRows, OfHalvesKeepTheirBitsAtAnySize) {
  constexpr std::int64_t kRows = 5, kColumns = 70;
  std::vector<float> x = gaussian(kRows * kColumns, 9);
  const float sizes[] = {1.0f, 1e30f, 1e-20f, 7e4f, 1e-3f};
  for (std::int64_t i = 0; i < kRows * kColumns; ++i)
    x[static_cast<std::size_t>(i)] *= sizes[i / kColumns];
  const DeviceArray<float> x_memory(x);
  for (const RoundedForm form : {RoundedForm::kF16, RoundedForm::kBf16}) {
    const DeviceArray<std::uint8_t> memory(rounded_bytes(form, kRows, kColumns));
    const RoundedX rounded = rounded_at(form, kRows, kColumns, memory.data());
    TestStream stream;
    ASSERT_EQ(round_rows(stream, form, dense(x_memory.data(), kRows, kColumns), rounded),
              cudaSuccess);
    stream.expect_done();
    const std::vector<std::uint8_t> bytes = memory.to_host();
    std::vector<float> scales(kRows);
    std::memcpy(scales.data(),
                bytes.data() + (reinterpret_cast<std::uint8_t*>(rounded.scales) - memory.data()),
                kRows * sizeof(float));
    for (std::int64_t row = 0; row < kRows; ++row) {
      for (std::int64_t chunk = 0; chunk < 3; ++chunk) {
        for (int place = 0; place < 32; ++place) {
          std::uint16_t bits;
          std::memcpy(&bits,
                      bytes.data() + (chunk * rounded.row_pad + row) * kChunkBytes + 2 * place, 2);
          const std::int64_t column = 32 * chunk + column_of(place, true);
          if (column >= kColumns) {
            EXPECT_EQ(bits, 0);
            continue;
          }
          const double got =
              static_cast<double>(form == RoundedForm::kF16 ? float_from_f16(bits)
                                                            : float_from_bf16(bits)) *
              scales[static_cast<std::size_t>(row)];
          const double want = x[static_cast<std::size_t>(row * kColumns + column)];
          // Float16 numbers below 2^-28 of the row's largest (about 4 here) lose bits.
          const double floor = 0x1p-36 * 8 * sizes[row];
          const double bound = std::fabs(want) * (form == RoundedForm::kF16 ? 0x1p-11 : 0x1p-8);
          EXPECT_NEAR(got, want, bound + floor) << "row " << row << " column " << column;
        }
      }
    }
  }
}

TEST(RoundedRows, OfANormAreThoseOfItsResult) {
  for (const std::int64_t columns : {96, 1000, 2048, 5120}) {
    constexpr std::int64_t kRows = 2;
    const std::vector<float> x = gaussian(kRows * columns, 13);
    const std::vector<float> weight = gaussian(columns, 14);
    const DeviceArray<float> x_memory(x), weight_memory(weight), y(kRows * columns);
    const std::int64_t bytes = rounded_bytes(RoundedForm::kInt8, kRows, columns);
    const DeviceArray<std::uint8_t> fused_memory(bytes), memory(bytes);
    const RoundedX fused = rounded_at(RoundedForm::kInt8, kRows, columns, fused_memory.data());
    TestStream stream;
    ASSERT_EQ(add_norm(stream,
                       {dense(x_memory.data(), kRows, columns),
                        {},
                        weight_memory.data(),
                        1e-5f,
                        dense(y.data(), kRows, columns)},
                       &fused),
              cudaSuccess);
    ASSERT_EQ(round_rows(stream, RoundedForm::kInt8, dense(y.data(), kRows, columns),
                         rounded_at(RoundedForm::kInt8, kRows, columns, memory.data())),
              cudaSuccess);
    stream.expect_done();
    EXPECT_EQ(fused_memory.to_host(), memory.to_host()) << columns;
    const std::vector<float> got = y.to_host();
    for (std::int64_t row = 0; row < kRows; ++row) {
      double sum = 0;
      for (std::int64_t c = 0; c < columns; ++c) {
        const double value = x[static_cast<std::size_t>(row * columns + c)];
        sum += value * value;
      }
      const double factor = 1 / std::sqrt(sum / static_cast<double>(columns) + 1e-5);
      for (std::int64_t c = 0; c < columns; ++c) {
        const double want = x[static_cast<std::size_t>(row * columns + c)] * factor *
                            weight[static_cast<std::size_t>(c)];
        // The sum of squares: 16 additions a thread, then 5 + 32; halved by the root; and six more.
        ASSERT_NEAR(got[static_cast<std::size_t>(row * columns + c)], want,
                    (53.0 / 2 + 6) * kEps * std::fabs(want));
      }
    }
  }
}

}  // namespace
}  // namespace tandem::cuda
