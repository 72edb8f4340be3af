#pragma once

#include <cstddef>
#include <span>

namespace tandem {

// Takes `image` as far as a program without a device would: model spec, inspection, tokenizer, a
// text to tokens and back. Says whether the model could be run by the look of it.
bool exercise_model(std::span<const std::byte> image);

}  // namespace tandem
