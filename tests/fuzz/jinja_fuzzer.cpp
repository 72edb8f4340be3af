#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "text/jinja/interpreter.h"
#include "text/jinja/json_form.h"
#include "text/jinja/parser.h"

namespace {

using tandem::jinja::Budget;
using tandem::jinja::Interpreter;
using tandem::jinja::Limits;

const nlohmann::ordered_json& context() {
  static const auto json = nlohmann::ordered_json::parse(R"({
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Grüße 🙂"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "abcdef123", "type": "function",
        "function": {"name": "f", "arguments": {"x": [1, 2.5, null]}}}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "name": "Ada", "n": 3, "words": ["b", "a", "C"], "nested": {"a": {"b": [1]}}, "text": " x\n"})");
  return json;
}

}  // namespace

// The input is a template; rendering it must end, within its limits, without a fault or a leak.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto block = tandem::jinja::parse_template(source);
  if (!block.ok()) return 0;
  // The default depth: the stack must bear it also with the sanitizers' large frames.
  Interpreter interpreter(Limits{.max_steps = 20'000, .max_allocated_bytes = 8 << 20}, 0);
  for (const auto& [name, json] : context().get_ref<const nlohmann::ordered_json::object_t&>()) {
    auto value = tandem::jinja::from_json(interpreter.budget(), json);
    if (value.ok()) interpreter.define(name, std::move(value).value());
  }
  (void)interpreter.render(*block);
  return 0;
}
