#pragma once

#include <span>
#include <string_view>

#include "text/jinja/interpreter.h"

namespace tandem::jinja {

using FilterFunction = Result<Value> (*)(Interpreter&, const Value&, const Arguments&);
struct NamedFilter {
  std::string_view name;
  FilterFunction function;
};

// value|name(arguments): jinja2's built-in filters but filesizeformat, pprint, random, striptags,
// urlencode, urlize, wordwrap and xmlattr, with transformers' tojson. Errors: no such filter.
Result<Value> apply_filter(Interpreter& interpreter, std::string_view name, const Value& value,
                           const Arguments& arguments);
bool has_filter(std::string_view name);

// The tables behind apply_filter.
std::span<const NamedFilter> scalar_filters();    // numbers, text, JSON
std::span<const NamedFilter> sequence_filters();  // lists and dicts
std::span<const NamedFilter>
select_filters();  // map, select, reject, sort and what takes attributes

// value.a.b.0 of "a.b.0", or value[attribute] of an integer; undefined where it ends.
Result<Value> attribute_path(Budget& budget, const Value& value, const Value& attribute);

}  // namespace tandem::jinja
