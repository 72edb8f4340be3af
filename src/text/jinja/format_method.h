#pragma once

#include <string>
#include <string_view>

#include "text/jinja/interpreter.h"

namespace tandem::jinja {

// str.format() with {}, {0} and {name}, {{ and }}. Errors: attributes, items, conversions and
// format specifications in a field are unsupported.
Result<std::string> format_braces(Budget& budget, std::string_view format,
                                  const Arguments& arguments);

}  // namespace tandem::jinja
