#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>

#include "base/checked.h"

namespace tandem {

// For vectors that kernels stream through: larger ones lie on huge pages where the system offers
// them, so that looking up addresses is no part of the time. Always on cache lines.
template <typename T>
struct HugePageAllocator {
  using value_type = T;

  HugePageAllocator() = default;
  template <typename U>
  HugePageAllocator(const HugePageAllocator<U>&) {}

  T* allocate(std::size_t count) {
    constexpr std::size_t kHugeBytes = std::size_t{2} << 20;
    constexpr std::size_t kSmallBytes = kHugeBytes / 16;  // below, a huge page would be a waste
    if (count > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
    const std::size_t bytes = count * sizeof(T);
    const std::size_t unit = bytes < kSmallBytes ? 64 : kHugeBytes;
    const std::size_t padded = align_up(bytes, unit);
    void* memory = std::aligned_alloc(unit, padded);
    if (memory == nullptr) throw std::bad_alloc();
    // A refusal costs speed only.
    if (unit == kHugeBytes) (void)madvise(memory, padded, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t) { std::free(memory); }

  bool operator==(const HugePageAllocator&) const { return true; }
};

}  // namespace tandem
