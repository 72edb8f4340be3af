#pragma once

#include <memory>
#include <span>

#include "device/cpu/instruction_set.h"
#include "device/cpu/thread_pool.h"
#include "device/device.h"
#include "device/ops.h"

namespace tandem {

// The matrix products of one CPU stream. Runs on all threads of `pool` and blocks. Owns the scratch
// for rounded activations, which grows to the largest call and then stays: a step allocates
// nothing.
//
// An output's bits depend only on its row of x and its row of the weight: not on the number of
// threads, nor on which other rows are in the batch. Every kernel of an instruction set adds in the
// same order (see matmul_kernels.h).
class CpuMatmul {
 public:
  // pool must outlive this. Weights must have been loaded for the same arithmetic.
  CpuMatmul(ThreadPool& pool, Arithmetic arithmetic, InstructionSet set);
  ~CpuMatmul();
  CpuMatmul(const CpuMatmul&) = delete;
  CpuMatmul& operator=(const CpuMatmul&) = delete;

  // As Ops::matmul and Ops::expert_matmul say. y may not overlap x.
  void matmul(MatrixView x, std::span<const MatmulTarget> targets);
  void expert_matmul(const ExpertMatmulArgs& args);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tandem
