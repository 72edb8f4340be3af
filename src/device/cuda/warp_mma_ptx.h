#pragma once

// The inline PTX behind warp_mma.h, which includes this. Turing (sm_75) has tensor cores for f16
// with k = 8 and for s8 with 8 x 8 x 16, no bf16 or tf32 and no asynchronous copies: the same
// results are made of what it has.

namespace tandem::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define TANDEM_TURING 1
#else
#define TANDEM_TURING 0
#endif

#if TANDEM_TURING
// d += a * b by shuffles: element(word, half) reads a number out of a register. kDepth columns of
// A lie kPacked to a register, registers of A two by two (rows g and g + 8).
template <int kDepth, int kPacked, typename Element>
__device__ inline void mma_by_shuffles(float (&d)[4], const FragmentA& a, const FragmentB& b,
                                       Element element) {
  const int lane = threadIdx.x % 32;
  const int g = lane / 4, t = lane % 4;
  for (int k = 0; k < kDepth; ++k) {
    const int high = k / (4 * kPacked);  // which half of the columns
    const int owner = k / kPacked % 4;
    const int place = k % kPacked;
    const float low_row = element(__shfl_sync(~0u, a[2 * high], 4 * g + owner), place);
    const float high_row = element(__shfl_sync(~0u, a[2 * high + 1], 4 * g + owner), place);
    const float first = element(__shfl_sync(~0u, b[high], 4 * (2 * t) + owner), place);
    const float second = element(__shfl_sync(~0u, b[high], 4 * (2 * t + 1) + owner), place);
    d[0] += low_row * first;
    d[1] += low_row * second;
    d[2] += high_row * first;
    d[3] += high_row * second;
  }
}
#endif

__device__ inline void mma_m16n8k16_f16(float (&d)[4], const FragmentA& a, const FragmentB& b) {
#if TANDEM_TURING
  for (int half = 0; half < 2; ++half) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
  }
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ inline void mma_m16n8k16_bf16(float (&d)[4], const FragmentA& a, const FragmentB& b) {
#if TANDEM_TURING
  mma_by_shuffles<16, 2>(d, a, b, [](std::uint32_t word, int place) {
    return __uint_as_float(place == 0 ? word << 16 : word & 0xffff0000u);
  });
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ inline void mma_m16n8k8_tf32(float (&d)[4], const FragmentA& a, const FragmentB& b) {
#if TANDEM_TURING
  // tf32 keeps the 10 highest bits of the fraction.
  mma_by_shuffles<8, 1>(
      d, a, b, [](std::uint32_t word, int) { return __uint_as_float(word & 0xffffe000u); });
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ inline void mma_m16n8k32_s8(std::int32_t (&d)[4], const FragmentA& a,
                                       const FragmentB& b) {
#if TANDEM_TURING
  for (int i = 0; i < 4; ++i) {
    const int row_half = i / 2, depth_half = i % 2;
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                 : "+r"(d[2 * row_half]), "+r"(d[2 * row_half + 1])
                 : "r"(a[row_half + 2 * depth_half]), "r"(b[depth_half]));
  }
#else
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ inline void mma_m16n8k16_s8(std::int32_t (&d)[4], const std::uint32_t (&a)[2],
                                       std::uint32_t b) {
#if TANDEM_TURING
  for (int i = 0; i < 2; ++i) {
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                 : "+r"(d[2 * i]), "+r"(d[2 * i + 1])
                 : "r"(a[i]), "r"(b));
  }
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b));
#endif
}

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

__device__ inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

__device__ inline void ldmatrix_x2(std::uint32_t (&r)[2], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared_row))
               : "memory");
}

__device__ inline void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared_row))
               : "memory");
}

__device__ inline void cp_async_16(void* shared, const void* global, bool valid) {
#if TANDEM_TURING
  *static_cast<uint4*>(shared) =
      valid ? *static_cast<const uint4*>(global) : make_uint4(0, 0, 0, 0);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
#endif
}

__device__ inline void cp_async_commit() {
#if !TANDEM_TURING
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int kGroupsLeft>
__device__ inline void cp_async_wait() {
#if !TANDEM_TURING
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
#endif
}

#undef TANDEM_TURING

}  // namespace tandem::cuda
