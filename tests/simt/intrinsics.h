#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simt/block.h"

// CUDA's device functions as the emulation has them; the CUDA C++ Programming Guide describes each
// (chapter "C++ Language Extensions").

// --- Barriers and fences -------------------------------------------------------------------------

inline void __syncthreads() {
  simt::block_barrier("__syncthreads");
}
inline int __syncthreads_count(int predicate) {
  return simt::block_vote(predicate != 0, "__syncthreads_count").sum;
}
inline int __syncthreads_or(int predicate) {
  return simt::block_vote(predicate != 0, "__syncthreads_or").sum != 0;
}
inline int __syncthreads_and(int predicate) {
  const simt::BlockVote vote = simt::block_vote(predicate != 0, "__syncthreads_and");
  return vote.sum == vote.num_threads;
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  simt::warp_exchange(mask, nullptr, 0, simt::kWarpBarrier);
}
inline void __threadfence_block() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_system() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __nanosleep(unsigned) {
  simt::yield_thread();
}
[[noreturn]] inline void __trap() {
  simt::fail("a kernel called __trap()");
}

// --- Shuffles, votes and reductions of a warp ----------------------------------------------------

namespace simt {
// The first lane of this lane's part of the warp.
inline int segment_begin(int width) {
  return lane_index() & ~(width - 1);
}
template <typename T>
T shuffle(unsigned mask, T value, int source, const char* name) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  const WarpSlots& slots = warp_exchange(mask, &value, sizeof(T), name);
  if (source < 0) return value;
  if ((slots.mask >> source & 1) == 0) fail(std::string(name) + " reads a lane that takes no part");
  return slots.get<T>(source);
}
template <typename T, typename F>
T reduce(unsigned mask, T value, const char* name, F&& combine) {
  const WarpSlots& slots = warp_exchange(mask, &value, sizeof(T), name);
  T result{};
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if ((slots.mask >> lane & 1) == 0) continue;
    const T other = slots.get<T>(lane);
    result = first ? other : combine(result, other);
    first = false;
  }
  return result;
}
}  // namespace simt

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return simt::shuffle(mask, value, simt::segment_begin(width) + (lane & (width - 1)),
                       "__shfl_sync");
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
  const int other = simt::lane_index() ^ lane_mask;
  const bool inside = other < simt::segment_begin(width) + width;
  return simt::shuffle(mask, value, inside ? other : -1, "__shfl_xor_sync");
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int other = simt::lane_index() - static_cast<int>(delta);
  return simt::shuffle(mask, value, other >= simt::segment_begin(width) ? other : -1,
                       "__shfl_up_sync");
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int other = simt::lane_index() + static_cast<int>(delta);
  return simt::shuffle(mask, value, other < simt::segment_begin(width) + width ? other : -1,
                       "__shfl_down_sync");
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const unsigned bit = predicate != 0 ? 1u << simt::lane_index() : 0;
  return simt::reduce(mask, bit, "__ballot_sync", [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int predicate) {
  return simt::reduce(mask, predicate != 0, "__any_sync", [](bool a, bool b) { return a || b; });
}
inline int __all_sync(unsigned mask, int predicate) {
  return simt::reduce(mask, predicate != 0, "__all_sync", [](bool a, bool b) { return a && b; });
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value) {
  const simt::WarpSlots& slots = simt::warp_exchange(mask, &value, sizeof(T), "__match_any_sync");
  unsigned same = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((slots.mask >> lane & 1) != 0 && slots.get<T>(lane) == value) same |= 1u << lane;
  }
  return same;
}
template <typename T>
T __reduce_add_sync(unsigned mask, T value) {
  return simt::reduce(mask, value, "__reduce_add_sync", [](T a, T b) { return a + b; });
}
template <typename T>
T __reduce_max_sync(unsigned mask, T value) {
  return simt::reduce(mask, value, "__reduce_max_sync", [](T a, T b) { return a > b ? a : b; });
}
template <typename T>
T __reduce_min_sync(unsigned mask, T value) {
  return simt::reduce(mask, value, "__reduce_min_sync", [](T a, T b) { return a < b ? a : b; });
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value) {
  return simt::reduce(mask, value, "__reduce_or_sync",
                      [](unsigned a, unsigned b) { return a | b; });
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value) {
  return simt::reduce(mask, value, "__reduce_and_sync",
                      [](unsigned a, unsigned b) { return a & b; });
}
// Every lane that is at work here: the emulation has no divergence to report, so that kernels that
// use it would not be tested. Left out on purpose: __activemask().

// --- Atomics: relaxed, as CUDA's
// ------------------------------------------------------------------

template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  if constexpr (std::is_integral_v<T>) {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
  } else {
    T old, sum;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do {
      sum = old + value;
    } while (
        !__atomic_compare_exchange(address, &old, &sum, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
  }
}
template <typename T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED);
}
template <typename T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  T old;
  __atomic_exchange(address, &value, &old, __ATOMIC_RELAXED);
  return old;
}
template <typename T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  __atomic_compare_exchange(address, &expected, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <typename T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (old < value && !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
  }
  return old;
}
template <typename T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value < old && !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED,
                                                     __ATOMIC_RELAXED)) {
  }
  return old;
}
template <typename T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
template <typename T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  unsigned old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, old >= limit ? 0 : old + 1, false,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

// --- Loads with hints
// -----------------------------------------------------------------------------

template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
template <typename T>
void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <typename T>
void __stcg(T* address, std::type_identity_t<T> value) {
  *address = value;
}

// --- Integer intrinsics
// ---------------------------------------------------------------------------

namespace simt {
inline int byte_of(int word, int index) {
  return static_cast<std::int8_t>(static_cast<std::uint32_t>(word) >> (8 * index));
}
inline unsigned ubyte_of(unsigned word, int index) {
  return word >> (8 * index) & 0xff;
}
// Applies f to each byte, read as signed.
template <typename F>
unsigned per_byte(unsigned a, unsigned b, F&& f) {
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const int value = f(byte_of(static_cast<int>(a), i), byte_of(static_cast<int>(b), i));
    result |= static_cast<unsigned>(value & 0xff) << (8 * i);
  }
  return result;
}
}  // namespace simt

inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) sum += simt::byte_of(a, i) * simt::byte_of(b, i);
  return sum;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
  for (int i = 0; i < 4; ++i) sum += simt::ubyte_of(a, i) * simt::ubyte_of(b, i);
  return sum;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t{high} << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned choice = selector >> (4 * i) & 0xf;
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (choice & 7))) & 0xff;
    if ((choice & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;  // the sign, repeated
    result |= byte << (8 * i);
  }
  return result;
}
inline unsigned __vadd4(unsigned a, unsigned b) {
  return simt::per_byte(a, b, [](int x, int y) { return x + y; });
}
inline unsigned __vsub4(unsigned a, unsigned b) {
  return simt::per_byte(a, b, [](int x, int y) { return x - y; });
}
inline unsigned __vsubss4(unsigned a, unsigned b) {
  return simt::per_byte(a, b, [](int x, int y) {
    const int difference = x - y;
    return difference < -128 ? -128 : (difference > 127 ? 127 : difference);
  });
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __popcll(unsigned long long x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
inline unsigned __brev(unsigned x) {
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) result |= (x >> i & 1) << (31 - i);
  return result;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((std::uint64_t{high} << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((std::uint64_t{high} << 32 | low) << (shift & 31) >> 32);
}
inline int __mulhi(int a, int b) {
  return static_cast<int>(static_cast<std::int64_t>(a) * b >> 32);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(std::uint64_t{a} * b >> 32);
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline long long clock64() {
  return static_cast<long long>(__builtin_ia32_rdtsc());
}
