#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace tandem {

inline constexpr std::string_view kDefaultModelName = "kjv-tiny-q8_0 (embedded)";

// The small model that is part of the program (models/PROVENANCE.md), as a GGUF image.
std::span<const std::byte> default_model_image();

}  // namespace tandem
