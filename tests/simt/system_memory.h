#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>

#include "simt/block.h"
#include "simt/runtime.h"

// The emulation behind device/cuda/system_memory.h, which includes this. Stores of a GPU whose
// access to the memory's GPU lies (simt::MachineOptions) are lost.

namespace tandem::cuda {

inline void store_flag(std::uint32_t* flag, std::uint32_t value) {
  if (!simt::store_is_lost(flag)) __atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

inline std::uint32_t load_flag(const std::uint32_t* flag) {
  return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

template <typename T>
void store_shared(T* to, const T& value) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);
  if (!simt::store_is_lost(to)) std::memcpy(to, &value, sizeof(T));
}

template <typename T>
T load_shared(const T* from) {
  return *from;
}

inline void pause_polling() {
  simt::yield_thread();
}

inline std::uint64_t clock_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace tandem::cuda
