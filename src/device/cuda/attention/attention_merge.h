#pragma once

#include "device/cuda/attention/attention_batch.h"

namespace tandem::cuda {

// Adds up the splits, in order, of the (token, head) rows that have more than one. max_tokens: as
// many tokens as split sequences may have. Stream-ordered.
cudaError_t merge_splits(cudaStream_t stream, const AttentionBatch& batch, std::int32_t max_tokens);

}  // namespace tandem::cuda
