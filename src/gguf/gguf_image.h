#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gguf/gguf_file.h"
#include "gguf/gguf_value.h"

namespace tandem {

// The contents of one GGUF file; strings and tensor data point into its image.
struct GgufImage {
  std::uint32_t version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;
};

// Parses and checks a whole image. Memory is bounded by the image's size, and for arrays also by
// kMaxArrayElements. Errors name offset, key or tensor; the caller adds the file's name.
// Source of the layout: ggml's docs/gguf.md.
Result<GgufImage> parse_gguf_image(std::span<const std::byte> image);

// All arrays of a file together hold at most so many elements (the largest vocabularies known, with
// their merges, have about 10^6): 1 GiB once widened.
inline constexpr std::uint64_t kMaxArrayElements = std::uint64_t{1} << 26;

// A name from the file as it may stand in an error message: quoted, cut after 80 bytes, bytes
// outside printable ASCII as \xNN.
std::string printable(std::string_view name);

}  // namespace tandem
