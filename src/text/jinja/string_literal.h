#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tandem::jinja {

// Python's escapes in the text between a literal's quotes. Unknown escapes keep their backslash.
// Errors: kMalformed for a cut or impossible \x, \u or \U; kUnsupported for \N{...}.
Result<std::string> unescape_literal(std::string_view text);

}  // namespace tandem::jinja
