#pragma once

#include <cstddef>
#include <span>

namespace tandem {

// Parses `image` as a GGUF file and, where it is accepted, reads everything that it offers: each
// value in each way, each tensor's data to its last byte. Says whether it was accepted.
bool exercise_gguf(std::span<const std::byte> image);

}  // namespace tandem
