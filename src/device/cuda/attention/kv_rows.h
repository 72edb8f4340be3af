#pragma once

#include "device/cuda/kv_layout.h"
#include "device/cuda/matmul/unroll.h"
#include "tensor/element_type.h"

namespace tandem::cuda {

// K or V of a layer; rows are numbered as kv_row() says.
template <ElementType kType>
struct KvRows {
  const std::uint8_t* data;
  int head_dim;
  int block_tokens;

  // Numbers [column, column + 8) of a row as halves; zeroes after the head's last.
  __device__ __forceinline__ uint4 eight_halves(std::int32_t row, int column) const {
    if (column >= head_dim) return make_uint4(0, 0, 0, 0);
    if constexpr (kType == ElementType::kF16) {
      const std::int64_t at = static_cast<std::int64_t>(row) * head_dim + column;
      return __ldg(reinterpret_cast<const uint4*>(data + 2 * at));
    } else {
      const Q8Place place = q8_place(row, block_tokens, head_dim);
      const uint2 codes = __ldg(reinterpret_cast<const uint2*>(data + place.codes + column));
      const auto* scale = reinterpret_cast<const __half*>(data + place.scales + column / 32 * 2);
      const __half2 d = __half2half2(*scale);
      return make_uint4(scaled_halves(codes.x, 0x4140u, d), scaled_halves(codes.x, 0x4342u, d),
                        scaled_halves(codes.y, 0x4140u, d), scaled_halves(codes.y, 0x4342u, d));
    }
  }

  // Two of four signed bytes, times d, rounded to halves. The bytes 0x64xx are the half 1024 + xx;
  // codes are made unsigned first.
  __device__ __forceinline__ static std::uint32_t scaled_halves(std::uint32_t codes,
                                                                std::uint32_t which, __half2 d) {
    const std::uint32_t bits = __byte_perm(codes ^ 0x80808080u, 0x64646464u, which);
    const __half2 raised =
        __halves2half2(__ushort_as_half(static_cast<unsigned short>(bits)),
                       __ushort_as_half(static_cast<unsigned short>(bits >> 16)));
    const __half2 x = __hmul2(__hsub2(raised, __float2half2_rn(1152.0f)), d);
    return __half_as_ushort(__low2half(x)) |
           static_cast<std::uint32_t>(__half_as_ushort(__high2half(x))) << 16;
  }
};

}  // namespace tandem::cuda
