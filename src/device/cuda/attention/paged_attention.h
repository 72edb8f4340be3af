#pragma once

#include <cstdint>

#include "device/cuda/attention.h"

namespace tandem::cuda {

// Is there a tensor-core kernel for this cache? F16 and Q8_0, heads of up to 256 numbers in
// multiples of 8 (Q8_0: 32). Else the plain kernels compute it.
bool has_paged_attention(const KvView& kv);

// Ops::attention on tensor cores (attention_tile.h). Queries of one KV head are computed together.
// Short sequences of new tokens (decoding) are split along the context and merged; see
// attention_batch.h for the sizes, which depend on the sequence alone.
// scratch: paged_attention_scratch_bytes() of device memory, 16-byte aligned, free once the stream
// has passed. Stream-ordered; the result is that of the starts.
std::int64_t paged_attention_scratch_bytes(const AttentionArgs& args,
                                           const DeviceSequences::Limits& limits);
cudaError_t paged_attention(cudaStream_t stream, const AttentionArgs& args,
                            const DeviceSequences& sequences, void* scratch);

}  // namespace tandem::cuda
