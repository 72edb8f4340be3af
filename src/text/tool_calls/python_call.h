#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tandem {

struct PythonCall {
  std::string tool;
  std::string arguments;  // a JSON object
};

// tool.call(name="text", other=1): how Llama 3 calls its built-in tools. Values are JSON's strings,
// numbers, true, false and null (or Python's True, False, None). Nullopt where it is anything else.
std::optional<PythonCall> parse_python_call(std::string_view text);

}  // namespace tandem
