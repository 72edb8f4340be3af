#pragma once

#include <string>
#include <vector>

namespace tandem {

// llama.cpp's flags of one dash and several letters ("-ngl 99", "-ctk q8_0") as the long ones that
// the command-line parser knows ("--n-gpu-layers 99"). Everything else is passed through; so is
// everything behind "--".
std::vector<std::string> with_long_flags(const std::vector<std::string>& arguments);

}  // namespace tandem
