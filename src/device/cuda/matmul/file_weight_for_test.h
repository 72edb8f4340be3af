#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "device/cuda/matmul/device_array_for_test.h"
#include "device/cuda/matmul/pack_weight.h"
#include "device/cuda/matmul/products.h"
#include "device/cuda/weight_packing.h"
#include "tensor/block_codes.h"
#include "tensor/half.h"
#include "tensor/quantise.h"

namespace tandem::cuda {

inline constexpr double kEps = 0x1p-24;  // half a unit in the last place of a float, relative

inline std::vector<float> gaussian(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

// A stack of matrices in the blocks of a file, and as the products read it.
class FileWeight {
 public:
  FileWeight(ElementType type, std::int64_t experts, std::int64_t rows, std::int64_t columns,
             unsigned seed = 1)
      : type_(type), experts_(experts), rows_(rows), columns_(columns) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.02f, 0.3f);
    values_.resize(static_cast<std::size_t>(experts * rows * columns));
    for (float& value : values_) value = normal(random);
    bytes_.resize(static_cast<std::size_t>(experts * rows * row_bytes()));
    quantise(type, values_, bytes_);
    dequantise(type, bytes_, values_);
  }
  ElementType type() const { return type_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t file_bytes() const { return static_cast<std::int64_t>(bytes_.size()); }
  const float* row(std::int64_t expert, std::int64_t index) const {
    return values_.data() + (expert * rows_ + index) * columns_;
  }

  // Uploads and repacks.
  WeightView packed() {
    const WeightPacking packing = packing_of_type();
    const auto* from = reinterpret_cast<const std::uint8_t*>(bytes_.data());
    file_ = std::make_unique<DeviceArray<std::uint8_t>>(std::span(from, bytes_.size()));
    packed_ = std::make_unique<DeviceArray<std::uint8_t>>(experts_ * packing.expert_bytes);
    TestStream stream;
    for (std::int64_t i = 0; i < experts_; ++i) {
      const std::uint8_t* rows = file_->data() + i * rows_ * row_bytes();
      std::uint8_t* to = packed_->data() + i * packing.expert_bytes;
      EXPECT_EQ(packing.layout == WeightLayout::kFragments
                    ? pack_weight(stream, type_, rows_, columns_, rows, to)
                    : cudaMemcpy2DAsync(to, static_cast<std::size_t>(packing.row_bytes), rows,
                                        static_cast<std::size_t>(row_bytes()),
                                        static_cast<std::size_t>(row_bytes()),
                                        static_cast<std::size_t>(rows_), cudaMemcpyDeviceToDevice,
                                        stream),
                cudaSuccess);
    }
    stream.expect_done();
    return {reinterpret_cast<const std::byte*>(packed_->data()),
            type_,
            packing.layout,
            experts_,
            rows_,
            columns_,
            packing.row_bytes,
            packing.expert_bytes};
  }
  // What packed() made on the device.
  std::vector<std::uint8_t> packed_bytes_on_device() const { return packed_->to_host(); }
  // The same by the host.
  std::vector<std::uint8_t> packed_on_host() const {
    const WeightPacking packing = packing_of_type();
    std::vector<std::uint8_t> result(static_cast<std::size_t>(experts_ * packing.expert_bytes),
                                     0x55);
    const auto group_bytes = static_cast<std::size_t>(packing.group_rows * packing.row_bytes);
    std::size_t to = 0;
    for (std::int64_t i = 0; i < experts_; ++i) {
      for (std::int64_t row = 0; row < rows_; row += packing.group_rows, to += group_bytes) {
        const std::int64_t count = std::min(packing.group_rows, rows_ - row);
        const auto* from = bytes_.data() + (i * rows_ + row) * row_bytes();
        pack_rows(packing, type_, count, {from, static_cast<std::size_t>(count * row_bytes())},
                  std::as_writable_bytes(std::span(result).subspan(to, group_bytes)));
      }
    }
    return result;
  }

  // The largest number that is added to or subtracted from the values of a row's sub-blocks.
  double largest_shift(std::int64_t expert, std::int64_t index) const {
    const BlockScheme* scheme = block_scheme_of(type_);
    if (scheme == nullptr) return 0;
    double largest = 0;
    const ElementTypeTraits& traits = traits_of(type_);
    const std::byte* row = bytes_.data() + (expert * rows_ + index) * row_bytes();
    for (std::int64_t b = 0; b < columns_ / traits.block_elements; ++b) {
      BlockCodes codes = {};
      unpack_block(type_, row + b * traits.block_bytes, codes);
      const double dmin = std::fabs(float_from_f16(codes.dmin));
      if (scheme->scale_form == ScaleForm::kHalfWithMin) largest = std::max(largest, dmin);
      if (scheme->scale_form != ScaleForm::kSuperWithMin) continue;
      for (const std::uint8_t min : codes.mins) largest = std::max(largest, dmin * min);
    }
    return largest;
  }

 private:
  WeightPacking packing_of_type() const {
    return type_ == ElementType::kF32 ? packing_of(type_, rows_, columns_, Arithmetic::kInt8)
                                      : fragment_packing_of(type_, rows_, columns_);
  }
  std::int64_t row_bytes() const { return *bytes_of(type_, columns_); }

  ElementType type_;
  std::int64_t experts_, rows_, columns_;
  std::vector<std::byte> bytes_;
  std::vector<float> values_;
  std::unique_ptr<DeviceArray<std::uint8_t>> file_, packed_;
};

}  // namespace tandem::cuda
