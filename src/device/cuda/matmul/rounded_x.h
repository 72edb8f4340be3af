#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "device/ops.h"
#include "tensor/fragment_layout.h"

namespace tandem::cuda {

// Rounded rows of x in device memory, as fragment_layout.h lays them. All arrays are for
// `row_pad` rows, a multiple of 64; those after the last are not written, and what is computed from
// them is not stored. Columns are filled up to whole chunks with zeroes, whose scales are zero.
struct RoundedX {
  std::uint8_t* codes = nullptr;  // [chunk][row_pad][64]
  // kInt8: [block of 32 columns][row_pad]. Else [row_pad]: what results are multiplied with.
  float* scales = nullptr;
  float* sums = nullptr;       // kInt8: [block][row_pad], scale * sum of the block's codes
  float* half_sums = nullptr;  // kInt8: [block][2][row_pad], of each 16 columns
  std::int32_t row_pad = 0;
};

// The arrays in rounded_bytes() of memory, which is 256-byte aligned.
RoundedX rounded_at(RoundedForm form, std::int64_t rows, std::int64_t columns, void* memory);

// Rounds x. Stream-ordered. A block (kInt8) with an infinity or a NaN gets the scale NaN, so that
// its products are NaN; one whose magnitudes are all below 2^-100 becomes zero.
cudaError_t round_rows(cudaStream_t stream, RoundedForm form, MatrixView x,
                       const RoundedX& rounded);

}  // namespace tandem::cuda
