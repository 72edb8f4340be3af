#include "text/jinja/format_method.h"

#include <algorithm>

#include "text/jinja/py_string.h"
#include "text/jinja/text_form.h"

namespace tandem::jinja {
namespace {

Result<Value> field_value(std::string_view field, const Arguments& arguments, std::size_t& next) {
  const auto index = field.empty() ? static_cast<Int>(next++) : text_to_int(field).value_or(-1);
  if (index >= 0) {
    if (index >= static_cast<Int>(arguments.positional.size())) {
      return render_error("replacement index out of range for positional arguments");
    }
    return arguments.positional[static_cast<std::size_t>(index)];
  }
  const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                  [field](const auto& named) { return named.first == field; });
  if (found != arguments.named.end()) return found->second;
  return unsupported("", "format field", "{}, {0} or {name} of an argument",
                     "{" + std::string(field.substr(0, 40)) + "}");
}

}  // namespace

Result<std::string> format_braces(Budget& budget, std::string_view format,
                                  const Arguments& arguments) {
  std::string out;
  std::size_t next = 0;
  for (std::size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    const bool doubled = at + 1 < format.size() && format[at + 1] == c;
    if (c != '{' && c != '}') {
      out += c;
    } else if (doubled) {
      out += c;
      ++at;
    } else if (c == '}') {
      return render_error("Single '}' encountered in format string");
    } else {
      const std::size_t end = format.find('}', at);
      if (end == std::string_view::npos) return render_error("expected '}' before end of string");
      TANDEM_TRY(const Value value,
                 field_value(format.substr(at + 1, end - at - 1), arguments, next));
      TANDEM_TRY(const std::string text, to_text(budget, value));
      out += text;
      at = end;
    }
  }
  return out;
}

}  // namespace tandem::jinja
