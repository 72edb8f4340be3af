#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace tandem {

std::string format_bytes(std::int64_t bytes) {
  static constexpr std::array kNames = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  if (std::abs(value) < 1024.0) return fmt::format("{} B", bytes);
  std::size_t name_index = 0;
  value /= 1024.0;
  while (std::abs(value) >= 1024.0 && name_index + 1 < kNames.size()) {
    value /= 1024.0;
    ++name_index;
  }
  return fmt::format("{:.1f} {}", value, kNames[name_index]);
}

std::string format_seconds(double seconds) {
  if (seconds >= 1.0) return fmt::format("{:.2f} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.1f} ms", seconds * 1e3);
  return fmt::format("{:.1f} us", seconds * 1e6);
}

}  // namespace tandem
