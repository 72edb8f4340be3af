#pragma once

#include "model/file_type.h"
#include "model/model_spec.h"

namespace tandem {

class GgufWriter;

// Sets `general.*` and `<architecture>.*`, under the keys that llama.cpp's converter writes, so
// that model_spec_from_gguf reads the same spec back. Tensors and tokenizer are the caller's.
void set_model_metadata(GgufWriter& writer, const ModelSpec& spec, FileType type);

}  // namespace tandem
