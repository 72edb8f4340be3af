#pragma once

#include <cstdint>
#include <string>

#include "model/model_spec.h"

namespace tandem {

// The name that GGUF files give a tensor (gguf-py's constants.py): "blk.3.attn_q.weight". For a
// role that belongs to no layer, `layer` is ignored.
std::string tensor_name(TensorRole role, std::int32_t layer);

bool is_layer_role(TensorRole role);

}  // namespace tandem
