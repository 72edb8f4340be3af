#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "tensor/element_type.h"

namespace tandem::cuda {

// Repacks rows of a weight from the blocks of a file to fragments (fragment_layout.h), on the
// device, so that loading is bound by the copy to it. Stream-ordered; neither memory may change
// before it is done.
// file_rows: [num_rows] rows of bytes_of(type, columns) bytes, one after another, in device memory;
// the first belongs at a group's start. packed: packed_bytes(type, num_rows, columns) bytes. Rows
// that fill the last group are zeroes. type: any weight's but F32.
cudaError_t pack_weight(cudaStream_t stream, ElementType type, std::int64_t num_rows,
                        std::int64_t columns, const std::uint8_t* file_rows, std::uint8_t* packed);

}  // namespace tandem::cuda
