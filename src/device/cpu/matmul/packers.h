#pragma once

#include <cstddef>
#include <cstdint>

#include "device/cpu/matmul/packed_layout.h"

namespace tandem {

// Packs bits [shift, shift + bits) of the codes of 32 columns of 16 rows into one plane. Row r's
// codes are at codes + r * stride.
namespace portable {
void pack_plane(const std::uint8_t* codes, std::int64_t stride, int shift, int bits,
                std::byte* plane);
}  // namespace portable

namespace avx512 {
void pack_plane(const std::uint8_t* codes, std::int64_t stride, int shift, int bits,
                std::byte* plane);

// An even number of columns of 16 rows of 16-bit numbers, row r at rows + r * stride, as
// [column / per_lane][16 rows][per_lane]; per_lane: 1 or 2.
void pack_halves(const std::byte* rows, std::int64_t stride, std::int64_t columns, int per_lane,
                 std::byte* group);
}  // namespace avx512

}  // namespace tandem
