#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/model_spec.h"

namespace tandem {

// A published model's shape (data/models.json, part of the program) or one that a user describes.
struct KnownShape {
  std::string title;                 // "Llama 3.2 1B"
  std::vector<std::string> aliases;  // other names of the same shape
  std::string source;                // where the figures stand
  // name, architecture and all sizes; `tensors` is empty until a quantisation is chosen
  // (assign_tensors in model/file_type.h).
  ModelSpec spec;
  // What the file's rope_freqs.weight holds; empty where it has none. [rope dims / 2].
  std::vector<float> rope_factors;
};

// In the order of data/models.json; parsed once, lives as long as the program.
std::span<const KnownShape> known_shapes();

// By name or alias, case ignored. kNotFound lists the names that are known.
Result<const KnownShape*> find_known_shape(std::string_view name);

// One entry in the form of data/models.json. `where` stands in errors, which name the field.
Result<KnownShape> shape_from_json(std::string_view json, std::string_view where);

// What `--shape` takes: a known name, a JSON object, or the path of a file that holds one.
Result<KnownShape> shape_from_argument(std::string_view argument);

}  // namespace tandem
