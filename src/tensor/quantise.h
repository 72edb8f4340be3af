#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/element_type.h"

namespace tandem {

// Exact dequantisation of consecutive blocks, the meaning of a stored weight (ggml-quants.c and
// gguf-py's quants.py give the formulas).
// blocks: bytes_of(type, values.size()) bytes, of any alignment. values.size() must be a whole
// number of blocks. Blocks the calling thread; no allocation.
void dequantise(ElementType type, std::span<const std::byte> blocks, std::span<float> values);

// Rounds `values` to blocks of `type`: round-to-nearest with each block's scale from its extreme
// values. Good enough for synthetic models; not an importance-weighted quantiser.
// blocks: bytes_of(type, values.size()) bytes.
void quantise(ElementType type, std::span<const float> values, std::span<std::byte> blocks);

}  // namespace tandem
