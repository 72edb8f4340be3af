#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/grammar/grammar.h"

namespace tandem {

// Reads llama.cpp's GBNF (grammars/README.md): rules `name ::= ...` of "text", [classes], `.`,
// names, (groups), `|`, and the repetitions * + ? {m} {m,} {m,n}; # starts a comment. The grammar
// starts at the rule `root`. Errors: kInvalidArgument with line and column.
Result<Grammar> parse_gbnf(std::string_view text);

}  // namespace tandem
