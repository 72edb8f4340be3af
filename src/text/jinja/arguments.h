#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/interpreter.h"

namespace tandem::jinja {

// Arguments in the order of a signature: null where one was not given. Points into the Arguments.
using Bound = std::vector<const Value*>;

// Errors: too many arguments, an unknown name, or fewer than `num_required`.
Result<Bound> bind(std::string_view callee, std::initializer_list<std::string_view> names,
                   const Arguments& arguments, std::size_t num_required = 0);

// The argument as a type, `fallback` where it was not given (or, for integers and text, is None).
// Errors: of another type.
Result<Int> int_or(const Value* argument, Int fallback);
Result<std::optional<std::string>> text_or_none(const Value* argument);
inline bool bool_or(const Value* argument, bool fallback) {
  return argument ? argument->truthy() : fallback;
}

}  // namespace tandem::jinja
