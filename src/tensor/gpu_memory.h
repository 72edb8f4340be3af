#pragma once

#include <algorithm>
#include <cstdint>

// What ranks on GPUs take of device memory beside weights and activations: CUDA devices and their
// groups obey it, plans reckon with it.

namespace tandem::cuda {

// Every buffer begins at a multiple of this: cudaMalloc's alignment, and enough for every load.
inline constexpr std::int64_t kBufferAlignment = 256;

// A rank's inbox and flags in a group of several, into which the others write; comm/cuda cuts it.
inline constexpr std::int64_t kExchangeBytes = (std::int64_t{8} << 20) + (std::int64_t{64} << 10);

// Messages that a link between stages holds for each receiver, in its memory where both it and the
// sender are GPUs.
inline constexpr int kLinkSlots = 2;

// Sequences with few new tokens (decoding, speculation) are split: several blocks of threads share
// their positions. Which are, and where they are cut, depends on the sequence alone, so that its
// result does not depend on what else is in the batch.
inline constexpr std::int32_t kSplitTokens = 4;
inline constexpr std::int32_t kSplitRows = 64;  // (query, head) pairs of a KV head, at most
inline constexpr std::int32_t kSplitPositions = 256;
inline constexpr std::int32_t kMaxSplits =
    64;  // of one sequence, but for one more at a window's ends

// What the splits of attention leave for their merging: for each token of a split sequence, query
// head and split the largest score, the sum of the probabilities and their sum over the values.
constexpr std::int64_t split_parts_bytes(std::int64_t tokens, std::int64_t q_heads,
                                         std::int64_t num_splits, std::int64_t head_dim) {
  return num_splits <= 1 ? 0 : tokens * q_heads * num_splits * (2 + head_dim) * 4;
}

// Splits of a context, at most.
constexpr std::int32_t most_splits(std::int64_t context_tokens) {
  const std::int64_t splits = (context_tokens + kSplitPositions - 1) / kSplitPositions;
  return static_cast<std::int32_t>(std::min<std::int64_t>(splits, kMaxSplits + 1));
}

}  // namespace tandem::cuda
