#pragma once

#include "device/cuda/cuda_api.h"
#include "device/ops.h"

namespace tandem::cuda {

// As Ops::store_kv; slots: [k.rows], device memory. Stream-ordered; the result is that of the
// start.
cudaError_t store_kv(cudaStream_t stream, MatrixView k, MatrixView v, const KvView& kv,
                     const std::int64_t* slots);

}  // namespace tandem::cuda
