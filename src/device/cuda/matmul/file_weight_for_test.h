#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "device/cuda/matmul/device_array_for_test.h"
#include "device/cuda/matmul/pack_weight.h"
#include "device/cuda/matmul/products.h"
#include "device/cuda/weight_packing.h"
#include "tensor/products_for_test.h"

namespace tandem::cuda {

// Matrices in the blocks of a file, and as the products read them.
class FileWeight : public FileMatrices {
 public:
  using FileMatrices::FileMatrices;
  std::int64_t file_bytes() const { return static_cast<std::int64_t>(bytes.size()); }

  // Uploads and repacks.
  WeightView packed() {
    const WeightPacking packing = packing_of_type();
    const auto* from = reinterpret_cast<const std::uint8_t*>(bytes.data());
    file_ = std::make_unique<DeviceArray<std::uint8_t>>(std::span(from, bytes.size()));
    packed_ = std::make_unique<DeviceArray<std::uint8_t>>(experts * packing.expert_bytes);
    TestStream stream;
    for (std::int64_t i = 0; i < experts; ++i) {
      const std::uint8_t* from_rows = file_->data() + i * rows * row_bytes();
      std::uint8_t* to = packed_->data() + i * packing.expert_bytes;
      EXPECT_EQ(
          packing.layout == WeightLayout::kFragments
              ? pack_weight(stream, type, rows, columns, from_rows, to)
              : cudaMemcpy2DAsync(to, static_cast<std::size_t>(packing.row_bytes), from_rows,
                                  static_cast<std::size_t>(row_bytes()),
                                  static_cast<std::size_t>(row_bytes()),
                                  static_cast<std::size_t>(rows), cudaMemcpyDeviceToDevice, stream),
          cudaSuccess);
    }
    stream.expect_done();
    return {reinterpret_cast<const std::byte*>(packed_->data()),
            type,
            packing.layout,
            experts,
            rows,
            columns,
            packing.row_bytes,
            packing.expert_bytes};
  }
  // What packed() made on the device.
  std::vector<std::uint8_t> packed_bytes_on_device() const { return packed_->to_host(); }
  // The same by the host.
  std::vector<std::uint8_t> packed_on_host() const {
    const WeightPacking packing = packing_of_type();
    std::vector<std::uint8_t> result(static_cast<std::size_t>(experts * packing.expert_bytes),
                                     0x55);
    const auto group_bytes = static_cast<std::size_t>(packing.group_rows * packing.row_bytes);
    std::size_t to = 0;
    for (std::int64_t i = 0; i < experts; ++i) {
      for (std::int64_t row = 0; row < rows; row += packing.group_rows, to += group_bytes) {
        const std::int64_t count = std::min(packing.group_rows, rows - row);
        const auto* from = bytes.data() + (i * rows + row) * row_bytes();
        pack_rows(packing, type, count, {from, static_cast<std::size_t>(count * row_bytes())},
                  std::as_writable_bytes(std::span(result).subspan(to, group_bytes)));
      }
    }
    return result;
  }

 private:
  WeightPacking packing_of_type() const {
    return type == ElementType::kF32 ? packing_of(type, rows, columns, Arithmetic::kInt8)
                                     : fragment_packing_of(type, rows, columns);
  }

  std::unique_ptr<DeviceArray<std::uint8_t>> file_, packed_;
};

}  // namespace tandem::cuda
