#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tandem {

// Linux itself is built for at most 8192 CPUs.
inline constexpr int kMaxCore = 65535;

// Reads "0-3+8-11" (separator '+', as in --devices) or "0-3,8-11" (separator ',', as in /sys)
// into ascending core numbers. A core named twice, a range that runs backwards, an empty list
// and a number above kMaxCore are errors.
Result<std::vector<int>> parse_core_list(std::string_view text, char separator);

// The inverse: "0-3+8-11". `cores` must ascend.
std::string format_core_list(const std::vector<int>& cores, char separator);

}  // namespace tandem
