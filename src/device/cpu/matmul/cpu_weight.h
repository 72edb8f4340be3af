#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "device/cpu/instruction_set.h"
#include "device/cpu/thread_pool.h"
#include "device/cpu/weight_arena.h"
#include "device/device.h"

namespace tandem {

// How the rows of a CpuWeight lie in memory.
enum class WeightLayout : std::uint8_t {
  kFileRows,       // the file's blocks, row after row (Arithmetic::kFloat)
  kInterleaved16,  // groups of 16 rows, repacked: see packed_layout.h
};

// A matrix, or a stack of experts' matrices, in host memory as the CPU kernels read it. Holds the
// one copy: nothing refers to the source once it is loaded.
class CpuWeight : public Weight {
 public:
  struct Shape {
    ElementType type = ElementType::kF32;
    std::int64_t num_experts = 1;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
  };
  CpuWeight(const CpuWeight&) = delete;
  CpuWeight& operator=(const CpuWeight&) = delete;

  ElementType type() const override { return shape_.type; }
  std::int64_t num_experts() const override { return shape_.num_experts; }
  std::int64_t rows() const override { return shape_.rows; }
  std::int64_t columns() const override { return shape_.columns; }
  std::int64_t size_bytes() const override { return size_bytes_; }

  WeightLayout layout() const { return layout_; }
  const std::byte* expert(std::int64_t index) const { return data_ + index * expert_bytes_; }
  std::byte* expert(std::int64_t index) { return data_ + index * expert_bytes_; }

  // Memory for `expert_bytes` an expert, 64-byte aligned. kOutOfMemory says how much was asked for.
  static Result<std::unique_ptr<CpuWeight>> allocate(const Shape& shape, WeightLayout layout,
                                                     std::int64_t expert_bytes, WeightArena& arena);

 private:
  CpuWeight(const Shape& shape, WeightLayout layout) : shape_(shape), layout_(layout) {}

  Shape shape_;
  WeightLayout layout_;
  std::int64_t expert_bytes_ = 0;
  std::int64_t size_bytes_ = 0;
  std::byte* data_ = nullptr;
  std::shared_ptr<const void> memory_;  // that data_ lies in
};

// Reads every row of the source once, on all threads of the pool, repacks it for the kernels, and
// reports rows_done after each group of rows (from the thread that read it). Blocks.
// A source whose columns are no whole number of blocks is kInvalidArgument, a type that has no
// matrix products (I32) kUnsupported.
Result<std::unique_ptr<Weight>> load_cpu_weight(const WeightSource& source, ThreadPool& pool,
                                                Arithmetic arithmetic, InstructionSet set,
                                                WeightArena& arena);

}  // namespace tandem
