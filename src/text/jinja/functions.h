#pragma once

#include <span>

#include "text/jinja/interpreter.h"

namespace tandem::jinja {

// The names that every template finds defined, as transformers sets them up: range, dict,
// namespace, raise_exception(message) and strftime_now(format).
std::span<const Function> global_functions();

}  // namespace tandem::jinja
