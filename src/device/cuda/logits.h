#pragma once

#include "device/cuda/cuda_context.h"
#include "device/logit_picker.h"

namespace tandem::cuda {

// As LogitPicker. `changes` is memory that the GPU can read, until the stream has passed.
cudaError_t change_logits(cudaStream_t stream, MatrixView x, const LogitChange* changes,
                          std::int64_t count);
Status sum_exponentials(CudaContext& context, MatrixView x, float* largest, float* sums);

}  // namespace tandem::cuda
