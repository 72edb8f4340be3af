#pragma once

#include <memory>

#include "server/served_model.h"

namespace tandem {

// Compiles grammars and JSON schemas into what holds answers to them, for ServedModel. Bounded in
// time and memory whatever the text: see src/engine/grammar/.
std::function<Result<ConstraintMaker>(const ConstraintRequest&)> make_constraint_compiler(
    std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace tandem
