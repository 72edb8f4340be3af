#pragma once

#include <string_view>

#include "text/jinja/interpreter.h"
#include "text/jinja/value.h"

namespace tandem::jinja {

// value.name: a method or attribute first, then an item. Undefined where there is neither, and
// where the immutable sandbox hides what is there.
Result<Value> get_attribute(Budget& budget, const Value& value, std::string_view name);

// value[key]: an item first, then an attribute.
Result<Value> get_item(Budget& budget, const Value& value, const Value& key);

// value[start:stop:step] of a string or sequence; None stands for "not given".
Result<Value> get_slice(Budget& budget, const Value& value, const Value& start, const Value& stop,
                        const Value& step);

Result<Value> call_method(Interpreter& interpreter, const MethodData& method,
                          const Arguments& arguments);

// Methods of str (string_methods.cpp). Nullopt where there is none of that name.
using StringMethod = Result<Value> (*)(Interpreter&, const StringData&, const Arguments&);
StringMethod find_string_method(std::string_view name);

}  // namespace tandem::jinja
