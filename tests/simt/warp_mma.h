#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simt/block.h"
#include "tensor/half.h"

// The emulation behind device/cuda/warp_mma.h, which includes this: the same lanes and registers.

namespace simt {

struct MmaOperands {
  std::uint32_t a[4];
  std::uint32_t b[2];
};

// d += a * b of one lane. kDepth columns of A, kPacked to a register; element(word, place) is one
// of them as a Number. Float sums are kept in float64 and rounded once: the order in which tensor
// cores add is not documented, and no test may rely on it.
template <int kDepth, int kPacked, typename Number, typename Sum, typename Element>
void mma_lane(Number (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              const char* name, Element&& element) {
  MmaOperands mine;
  std::memcpy(mine.a, a, sizeof(mine.a));
  std::memcpy(mine.b, b, sizeof(mine.b));
  const WarpSlots& slots = warp_exchange(~0u, &mine, sizeof(mine), name);
  if (slots.mask != ~0u) fail(std::string(name) + " needs a whole warp");
  const int g = lane_index() / 4, t = lane_index() % 4;
  Sum sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = static_cast<Sum>(d[i]);
  for (int owner = 0; owner < 4; ++owner) {
    const auto rows = slots.get<MmaOperands>(4 * g + owner);
    const auto first = slots.get<MmaOperands>(8 * t + owner);
    const auto second = slots.get<MmaOperands>(8 * t + 4 + owner);
    for (int k = 0; k < kDepth / 4; ++k) {
      const int high = k / kPacked, place = k % kPacked;
      const Sum low_row = element(rows.a[2 * high], place);
      const Sum high_row = element(rows.a[2 * high + 1], place);
      const Sum x = element(first.b[high], place), y = element(second.b[high], place);
      sums[0] += low_row * x;
      sums[1] += low_row * y;
      sums[2] += high_row * x;
      sums[3] += high_row * y;
    }
  }
  for (int i = 0; i < 4; ++i) d[i] = static_cast<Number>(sums[i]);
}

// `count` matrices of 8 x 8 16-bit numbers; every lane gives the address of a row.
inline void load_matrices(std::uint32_t* r, int count, const void* row, bool transposed,
                          const char* name) {
  if (lane_index() < 8 * count && reinterpret_cast<std::uintptr_t>(row) % 16 != 0) {
    fail(std::string(name) + ": a row is not 16-byte aligned");
  }
  const WarpSlots& slots = warp_exchange(~0u, &row, sizeof(row), name);
  if (slots.mask != ~0u) fail(std::string(name) + " needs a whole warp");
  const int g = lane_index() / 4, t = lane_index() % 4;
  for (int i = 0; i < count; ++i) {
    const auto element = [&](int y, int x) -> std::uint32_t {
      return slots.get<const std::uint16_t*>(8 * i + y)[x];
    };
    r[i] = transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16
                      : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
  }
  // The rows may change once every lane has read them.
  warp_exchange(~0u, nullptr, 0, "the end of ldmatrix");
}

}  // namespace simt

namespace tandem::cuda {

inline void mma_m16n8k16_f16(float (&d)[4], const FragmentA& a, const FragmentB& b) {
  simt::mma_lane<16, 2, float, double>(d, a, b, "mma_m16n8k16_f16", [](std::uint32_t w, int i) {
    return static_cast<double>(float_from_f16(static_cast<std::uint16_t>(w >> (16 * i))));
  });
}

inline void mma_m16n8k16_bf16(float (&d)[4], const FragmentA& a, const FragmentB& b) {
  simt::mma_lane<16, 2, float, double>(d, a, b, "mma_m16n8k16_bf16", [](std::uint32_t w, int i) {
    return static_cast<double>(float_from_bf16(static_cast<std::uint16_t>(w >> (16 * i))));
  });
}

inline void mma_m16n8k8_tf32(float (&d)[4], const FragmentA& a, const FragmentB& b) {
  simt::mma_lane<8, 1, float, double>(d, a, b, "mma_m16n8k8_tf32", [](std::uint32_t w, int) {
    return static_cast<double>(std::bit_cast<float>(w & 0xffffe000u));
  });
}

inline void mma_m16n8k32_s8(std::int32_t (&d)[4], const FragmentA& a, const FragmentB& b) {
  simt::mma_lane<32, 4, std::int32_t, std::int32_t>(
      d, a, b, "mma_m16n8k32_s8", [](std::uint32_t w, int i) {
        return static_cast<std::int32_t>(static_cast<std::int8_t>(w >> (8 * i)));
      });
}

inline void mma_m16n8k16_s8(std::int32_t (&d)[4], const std::uint32_t (&a)[2], std::uint32_t b) {
  const FragmentA half = {a[0], a[1], 0, 0};  // the other columns are zeroes
  mma_m16n8k32_s8(d, half, {b, 0});
}

inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared_row) {
  simt::load_matrices(r, 4, shared_row, false, "ldmatrix_x4");
}
inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* shared_row) {
  simt::load_matrices(r, 4, shared_row, true, "ldmatrix_x4_trans");
}
inline void ldmatrix_x2(std::uint32_t (&r)[2], const void* shared_row) {
  simt::load_matrices(r, 2, shared_row, false, "ldmatrix_x2");
}
inline void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* shared_row) {
  simt::load_matrices(r, 2, shared_row, true, "ldmatrix_x2_trans");
}

inline void cp_async_16(void* shared, const void* global, bool valid) {
  if ((reinterpret_cast<std::uintptr_t>(shared) | reinterpret_cast<std::uintptr_t>(global)) % 16) {
    simt::fail("cp_async_16: an address is not 16-byte aligned");
  }
  simt::copy_async(shared, global, 16, valid ? 16 : 0);
}
inline void cp_async_commit() {
  simt::copy_async_commit();
}
template <int kGroupsLeft>
inline void cp_async_wait() {
  simt::copy_async_wait(kGroupsLeft);
}

}  // namespace tandem::cuda
