#include "text/jinja/arguments.h"

#include <algorithm>

namespace tandem::jinja {

Result<Bound> bind(std::string_view callee, std::initializer_list<std::string_view> names,
                   const Arguments& arguments, std::size_t num_required) {
  const auto fail = [callee](const std::string& what) {
    return render_error(std::string(callee) + "() " + what);
  };
  if (arguments.positional.size() > names.size()) {
    return fail("takes at most " + std::to_string(names.size()) + " arguments");
  }
  Bound bound(names.size(), nullptr);
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return fail("has no parameter '" + name.substr(0, 40) + "'");
    const auto index = static_cast<std::size_t>(found - names.begin());
    if (bound[index]) return fail("got two values for '" + name + "'");
    bound[index] = &value;
  }
  for (std::size_t i = 0; i < num_required; ++i) {
    if (!bound[i]) return fail("misses the argument '" + std::string(names.begin()[i]) + "'");
  }
  return bound;
}

Result<Int> int_or(const Value* argument, Int fallback) {
  if (!argument || argument->is_none()) return fallback;
  if (const auto number = argument->as_int()) return *number;
  return render_error("expected an integer, not '" + std::string(type_name(*argument)) + "'");
}

Result<std::optional<std::string>> text_or_none(const Value* argument) {
  if (!argument || argument->is_none()) return std::optional<std::string>();
  if (const auto* text = argument->as_string()) return std::optional<std::string>(text->text);
  return render_error("expected a string, not '" + std::string(type_name(*argument)) + "'");
}

}  // namespace tandem::jinja
