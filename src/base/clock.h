#pragma once

#include <chrono>
#include <cstdint>

namespace tandem {

// Time since an arbitrary point, never set back.
inline std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
inline std::int64_t monotonic_us() {
  return monotonic_ns() / 1000;
}

}  // namespace tandem
