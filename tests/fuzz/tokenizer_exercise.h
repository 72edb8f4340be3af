#pragma once

#include <cstddef>
#include <span>

namespace tandem {

// Takes `input` as text (behind two bytes that choose a pre-tokenizer, options and where the stream
// is cut) through encoding, decoding, incremental decoding and stop strings, with small
// vocabularies of both kinds, and stops the program where what must hold does not. An input that
// begins with "GGUF" is taken as a vocabulary instead, and encodes a text of its own.
void exercise_tokenizers(std::span<const std::byte> input);

}  // namespace tandem
