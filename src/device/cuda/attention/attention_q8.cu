#include "device/cuda/attention/attention_kernels.h"

namespace tandem::cuda {

template cudaError_t start_attention<1, ElementType::kQ8_0>(cudaStream_t, const AttentionBatch&,
                                                            const AttentionGrid&);
template cudaError_t start_attention<2, ElementType::kQ8_0>(cudaStream_t, const AttentionBatch&,
                                                            const AttentionGrid&);
template cudaError_t start_attention<4, ElementType::kQ8_0>(cudaStream_t, const AttentionBatch&,
                                                            const AttentionGrid&);

}  // namespace tandem::cuda
