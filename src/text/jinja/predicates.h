#pragma once

#include <string_view>

#include "text/jinja/interpreter.h"

namespace tandem::jinja {

// value is name(arguments): jinja2's built-in tests. Errors: no test of that name.
Result<bool> apply_test(Interpreter& interpreter, std::string_view name, const Value& value,
                        const Arguments& arguments);

}  // namespace tandem::jinja
