#pragma once

#include <cstdint>

#include "device/cuda/cuda_context.h"
#include "device/ops.h"

namespace tandem::cuda {

// A SequenceSlice as kernels see it.
struct DeviceSequence {
  std::int32_t first_token = 0;
  std::int32_t num_tokens = 0;
  std::int32_t context_tokens = 0;
  std::int32_t first_block = 0;  // where its block table begins in block_tables
};

// The sequences of a batch in device memory, and what the host knows of them for choosing grids.
// A graph replays kernels with the contents of another step: sizes that a kernel is started with
// may depend on `limits` alone, which are equal for all steps that share a graph; everything else
// is read on the device.
struct DeviceSequences {
  const DeviceSequence* sequences = nullptr;        // [num_sequences]
  const std::int32_t* block_tables = nullptr;       // one after another
  const std::int32_t* sequence_of_token = nullptr;  // [num_tokens]: index of each token's sequence
  struct Limits {
    std::int32_t num_sequences = 0;
    std::int32_t num_tokens = 0;   // of all sequences
    std::int32_t max_tokens = 0;   // of one sequence
    std::int32_t max_context = 0;  // of one sequence, perhaps rounded up
  } limits;
};

// As Ops::attention; the sequences of `args` are those of `sequences`.
Status attention(CudaContext& context, const AttentionArgs& args, const DeviceSequences& sequences);

}  // namespace tandem::cuda
