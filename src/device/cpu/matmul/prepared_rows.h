#pragma once

#include <cstdint>
#include <vector>

#include "device/cpu/huge_page_allocator.h"
#include "device/cpu/matmul/matmul_kernels.h"
#include "device/cpu/thread_pool.h"
#include "device/ops.h"

namespace tandem {

// The rows of x of one call in the forms that its weights want, each made when the first weight
// asks for it and shared by the others. The memory stays for the next call.
class PreparedRows {
 public:
  PreparedRows(ThreadPool& pool, const RoundedKernels& kernels) : pool_(pool), kernels_(kernels) {}

  // Forgets the rows before. x must stay as it is until the next reset.
  void reset(MatrixView x);
  const MatrixView& x() const { return x_; }
  std::int64_t num_chunks() const { return num_chunks_; }

  // Rounds to eight bits for weights of these traits; returns what rounded_row() takes.
  int round_for(const PackedTraits& traits);
  RoundedRow rounded_row(int starts_index, std::int64_t row) const;

  // Rounds to bfloat16.
  void convert_to_bf16();
  const std::uint16_t* bf16_row(std::int64_t row) const;  // a zero follows an odd last column

 private:
  template <typename T>
  using Streamed = std::vector<T, HugePageAllocator<T>>;
  struct Starts {
    int level_offset = 0;
    int sub_block = 0;
    bool with_sums = false;      // are the sums for this sub_block filled in?
    Streamed<SumStarts> chunks;  // [chunk][row of x]
  };
  template <typename Body>
  void for_rows(Body body);
  void round_rows();

  ThreadPool& pool_;
  const RoundedKernels& kernels_;
  MatrixView x_;
  std::int64_t num_chunks_ = 0;
  bool is_rounded_ = false;  // is chunks_ that of x?
  bool is_bf16_ = false;
  Streamed<RoundedChunk> chunks_;  // [chunk][row of x]
  std::vector<Starts> starts_;
  std::size_t num_starts_ = 0;    // those of x
  Streamed<std::uint16_t> bf16_;  // [row of x][columns, padded to even]
};

}  // namespace tandem
