#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "device/cuda/cuda_api.h"
#include "device/device.h"

namespace tandem::cuda {

// How the rows of a weight lie in device memory.
enum class WeightLayout : std::uint8_t {
  kFileRows,   // the file's blocks, row after row, each row from a multiple of 16 bytes
  kFragments,  // groups of 16 rows as operands of tensor cores: tensor/fragment_layout.h
};

// A weight as kernels see it; passed to them by value, owns nothing.
struct WeightView {
  const std::byte* data = nullptr;  // device memory, 256-byte aligned
  ElementType type = ElementType::kF32;
  WeightLayout layout = WeightLayout::kFileRows;
  std::int64_t num_experts = 1;
  std::int64_t rows = 0;          // output features
  std::int64_t columns = 0;       // input features, a whole number of blocks
  std::int64_t row_bytes = 0;     // from one row to the next
  std::int64_t expert_bytes = 0;  // from one expert to the next
};

class CudaWeight : public Weight {
 public:
  CudaWeight(const WeightView& view, std::unique_ptr<Buffer> memory)
      : view_(view), memory_(std::move(memory)) {}

  ElementType type() const override { return view_.type; }
  std::int64_t num_experts() const override { return view_.num_experts; }
  std::int64_t rows() const override { return view_.rows; }
  std::int64_t columns() const override { return view_.columns; }
  std::int64_t size_bytes() const override { return memory_->size_bytes(); }
  const WeightView& view() const { return view_; }

 private:
  WeightView view_;
  std::unique_ptr<Buffer> memory_;
};

// The view of a weight that a CUDA device loaded.
inline const WeightView& view_of(const Weight& weight) {
  return static_cast<const CudaWeight&>(weight).view();
}

}  // namespace tandem::cuda
