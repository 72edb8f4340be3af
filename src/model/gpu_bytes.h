#pragma once

#include <cstdint>

#include "model/activation_sizes.h"

namespace tandem {

// Bytes that a rank takes of a GPU where cores take something else: as a CUDA device allocates
// them, each buffer from a multiple of cuda::kBufferAlignment on.

// Weights, repacked for tensor cores (tensor/fragment_layout.h): the file's blocks, filled up to 16
// rows and 64 columns.
std::int64_t gpu_weight_bytes_of(const ModelSpec& spec, const RankShard& rank);

// Keys and values of `num_tokens` positions over all layers of the rank.
std::int64_t gpu_kv_bytes_of(const ModelSpec& spec, const RankShard& rank, ElementType type,
                             std::int64_t num_tokens);

// What steps are at most.
struct StepLimits {
  std::int64_t max_tokens = 0;
  std::int64_t max_output_rows = 0;
  std::int64_t max_sequences = 1;
  std::int64_t context_tokens = 0;  // of one sequence
  std::int64_t num_blocks = 0;      // of the KV cache
};

// The scratch memory of the op that needs most of it: rounded activations of matrix products,
// parts of split attention, probabilities of a router, rows of the embedding.
std::int64_t gpu_scratch_bytes_of(const ModelSpec& spec, const RankShard& rank,
                                  const StepLimits& limits);

// Activations, scratch, and arrays of the host that ops read (tables, slots, rows).
std::int64_t gpu_compute_bytes_of(const ModelSpec& spec, const RankShard& rank,
                                  const StepLimits& limits);

}  // namespace tandem
