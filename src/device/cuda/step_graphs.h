#pragma once

#include <cstdint>
#include <map>

#include "base/result.h"
#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// The launches of a step as one CUDA graph. What a stream is given between begin() and end() is
// recorded, not run; end() brings an executable graph of an earlier step of the same key up to date
// with it (other addresses, sizes and grids; the same kernels in the same order) and starts that.
// Only where the kernels are others a new graph is made. So a step costs the GPU no gaps between
// its kernels, and whatever the ops do differently from step to step is obeyed.
class StepGraphs {
 public:
  StepGraphs() = default;
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // The first step of a key runs unrecorded: memory grows and modules are loaded then.
  Status begin(cudaStream_t stream, std::uint64_t key);
  Status end(cudaStream_t stream);
  bool is_recording() const { return recording_; }
  std::int64_t num_launches() const { return num_launches_; }

 private:
  Status start(cudaStream_t stream, cudaGraph_t graph);

  static constexpr std::size_t kMaxKeys = 64;
  std::map<std::uint64_t, cudaGraphExec_t> graphs_;  // nullptr: seen once, not recorded yet
  std::uint64_t key_ = 0;
  bool recording_ = false;
  std::int64_t num_launches_ = 0;
};

}  // namespace tandem::cuda
