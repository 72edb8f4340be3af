#include "text/jinja/filters.h"

#include <algorithm>

namespace tandem::jinja {
namespace {

FilterFunction find_filter(std::string_view name) {
  for (const auto table : {scalar_filters(), sequence_filters(), select_filters()}) {
    const auto found = std::find_if(table.begin(), table.end(),
                                    [name](const auto& filter) { return filter.name == name; });
    if (found != table.end()) return found->function;
  }
  return nullptr;
}

}  // namespace

bool has_filter(std::string_view name) {
  return find_filter(name) != nullptr;
}

Result<Value> apply_filter(Interpreter& interpreter, std::string_view name, const Value& value,
                           const Arguments& arguments) {
  TANDEM_TRY_STATUS(interpreter.budget().spend_steps());
  const FilterFunction filter = find_filter(name);
  if (!filter) return unsupported("", "No filter named '" + std::string(name.substr(0, 40)) + "'.");
  return filter(interpreter, value, arguments);
}

}  // namespace tandem::jinja
