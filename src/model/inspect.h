#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace tandem {

class GgufFile;

// What a GGUF file holds, whether or not Tandem can run it:
// {"file", "version", "file_bytes", "architecture", "name", "file_type", "parameters",
//  "weight_bytes", "bits_per_weight", "model": {...} | null, "problem": text | null,
//  "tensor_types": {"Q4_K": {"tensors", "bytes"}}, "metadata": {key: value},
//  "tensors": [{"name", "type", "shape", "bytes"}]}
// `problem` says why it cannot be run. Of an array in the metadata stand its element type, its
// length and its first elements. Text that is no UTF-8 has U+FFFD in place of the wrong bytes.
nlohmann::json inspect_to_json(const GgufFile& file);

// The same for people, several lines; tensors one a line where `with_tensors`.
std::string inspect_to_text(const GgufFile& file, bool with_tensors);

}  // namespace tandem
