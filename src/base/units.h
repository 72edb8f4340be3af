#pragma once

#include <cstdint>
#include <string>

namespace tandem {

inline constexpr std::int64_t kKiB = 1024;
inline constexpr std::int64_t kMiB = 1024 * kKiB;
inline constexpr std::int64_t kGiB = 1024 * kMiB;

// For people: "640.0 MiB", "1.2 GiB", "17 B".
std::string format_bytes(std::int64_t bytes);

// For people: "1.24 s", "13.1 ms", "4.2 us".
std::string format_seconds(double seconds);

}  // namespace tandem
