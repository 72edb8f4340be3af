#pragma once

#include <string_view>

#include "base/result.h"
#include "text/jinja/ast.h"

namespace tandem::jinja {

// Parses a template as jinja2 3.1 does with the extensions that transformers loads (loop controls,
// generation). Errors: kMalformed with the line; kUnsupported for import, include, extends, block.
// Expressions and statements nested deeper than some 200 and 100 levels are refused.
Result<Block> parse_template(std::string_view source);

}  // namespace tandem::jinja
