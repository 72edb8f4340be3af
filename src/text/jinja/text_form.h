#pragma once

#include <string>

#include "text/jinja/value.h"

namespace tandem::jinja {

// Python's str(): what {{ value }} prints. Pays for the text.
Result<std::string> to_text(Budget& budget, const Value& value);

// Python's repr().
Result<std::string> repr_of(Budget& budget, const Value& value);

}  // namespace tandem::jinja
