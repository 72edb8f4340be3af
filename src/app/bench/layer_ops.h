#pragma once

#include "app/bench/kernel_lab.h"

namespace tandem::layer_ops {

// What a layer does between its matrix products, at the sizes of a small model, with the numbers of
// a bench's x, or with its zeros where repetition would make numbers tiny, which processors are
// slow with. Results are thrown away.
inline constexpr std::int32_t kHidden = 2048;
inline constexpr std::int32_t kFeedForward = 4096;
inline constexpr std::int32_t kHeads = 16;
inline constexpr std::int32_t kKvHeads = 4;
inline constexpr std::int32_t kHeadDim = 128;
inline constexpr std::int32_t kBlockTokens = 32;
inline constexpr std::int32_t kContext = 1024;
inline constexpr std::int32_t kLayers = 64;       // whose keys and values exceed caches together
inline constexpr std::int64_t kLayerCacheBytes =  // of one layer, in half precision
    std::int64_t{2} * 2 * kContext * kKvHeads * kHeadDim;
inline constexpr std::int64_t kCacheBytes = kLayers * kLayerCacheBytes;

// Norms and adds of `tokens` tokens: work by the hidden size.
void hidden_ops(KernelLab::Bench& bench, std::int32_t tokens);
// Rotation, storing keys and values, and the gate of `tokens` tokens: work by the width of heads
// and feed-forward.
void width_ops(KernelLab::Bench& bench, std::int32_t tokens);
// Attention of `tokens` tokens, the last of which sees `context` positions (at most kContext), in
// the next of the bench's layers. The bench has a cache of kCacheBytes.
void attention(KernelLab::Bench& bench, std::int32_t tokens, std::int32_t context);

}  // namespace tandem::layer_ops
