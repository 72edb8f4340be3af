#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tandem {

// llama.cpp's flags of one dash and several letters ("-ngl 99", "-ctk q8_0") as the long ones that
// the command-line parser knows ("--n-gpu-layers 99"). Everything else is passed through; so is
// everything behind "--".
std::vector<std::string> with_long_flags(const std::vector<std::string>& arguments);

// llama.cpp's flag for a long one given without its dashes: "-ngl" for "n-gpu-layers"; empty where
// there is none.
std::string_view short_flag_of(std::string_view long_flag);

}  // namespace tandem
