#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// Matrix products of one warp on tensor cores, and the copies that feed them. All 32 lanes call a
// function together. The fragments are those of the PTX ISA ("Matrix Fragments for mma.m16n8k16",
// ...k32, ...k8); with g = lane / 4 and t = lane % 4:
//
// D, C [16 x 8], four numbers a lane:   d[0], d[1] at row g,     columns 2t, 2t + 1
//                                       d[2], d[3] at row g + 8, columns 2t, 2t + 1
//
//               A [16 x k] (row-major)                           B [k x 8] (column-major), column g
// 16-bit, k=16  a[0]: row g,     columns 2t, 2t+1                b[0]: rows 2t, 2t+1
//               a[1]: row g + 8, columns 2t, 2t+1                b[1]: rows 2t+8, 2t+9
//               a[2]: row g,     columns 2t+8, 2t+9
//               a[3]: row g + 8, columns 2t+8, 2t+9
// s8, k=32      a[0]: row g,     columns 4t .. 4t+3              b[0]: rows 4t .. 4t+3
//               a[1]: row g + 8, columns 4t .. 4t+3              b[1]: rows 4t+16 .. 4t+19
//               a[2]: row g,     columns 4t+16 .. 4t+19
//               a[3]: row g + 8, columns 4t+16 .. 4t+19
// s8, k=16      a[0], a[1] and b[0] of these
// tf32, k=8     a[0]: row g,     column t                        b[0]: row t
//               a[1]: row g + 8, column t                        b[1]: row t + 4
//               a[2]: row g,     column t + 4
//               a[3]: row g + 8, column t + 4
// The lowest bits of a register hold the first column (or row) named.

using FragmentA = std::uint32_t[4];
using FragmentB = std::uint32_t[2];

// d += a * b, in float32. The order of additions within one product is the hardware's.
__device__ inline void mma_m16n8k16_f16(float (&d)[4], const FragmentA& a, const FragmentB& b);
__device__ inline void mma_m16n8k16_bf16(float (&d)[4], const FragmentA& a, const FragmentB& b);
__device__ inline void mma_m16n8k8_tf32(float (&d)[4], const FragmentA& a, const FragmentB& b);
// d += a * b of signed bytes, exact in int32.
__device__ inline void mma_m16n8k32_s8(std::int32_t (&d)[4], const FragmentA& a,
                                       const FragmentB& b);

__device__ inline void mma_m16n8k16_s8(std::int32_t (&d)[4], const std::uint32_t (&a)[2],
                                       std::uint32_t b);

// Loads four 8 x 8 matrices of 16-bit numbers from shared memory. Lane 8i + j gives the address of
// row j of matrix i (16 bytes, 16-byte aligned); r[i] gets, of matrix i, row g, columns 2t and 2t+1
// (_trans: of its transpose). With A row-major in shared memory, matrices in the order of a[] make
// a FragmentA.
__device__ inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared_row);
__device__ inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* shared_row);
// Two matrices; lanes 16 to 31 give addresses that are not used.
__device__ inline void ldmatrix_x2(std::uint32_t (&r)[2], const void* shared_row);
__device__ inline void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* shared_row);

// Starts copying 16 bytes (both addresses 16-byte aligned) from global to shared memory; where
// `valid` is false zeros are written and nothing is read. Complete for this thread after
// cp_async_wait of its group, for others after a barrier behind that.
__device__ inline void cp_async_16(void* shared, const void* global, bool valid = true);
// Closes the group of the copies started since the last commit.
__device__ inline void cp_async_commit();
// Waits until at most kGroupsLeft of this thread's committed groups are still under way.
template <int kGroupsLeft>
__device__ inline void cp_async_wait();

}  // namespace tandem::cuda

#include TANDEM_WARP_MMA_HEADER
