#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace tandem {

// How a family of models writes calls of tools into its text.
enum class ToolCallFormat : std::uint8_t {
  kHermes,   // <tool_call>{"name":, "arguments":}</tool_call> (Hermes, Qwen; and what is asked
             // of models whose template knows no tools)
  kLlama3,   // {"name":, "parameters":} as the whole answer; <|python_tag|>
  kMistral,  // [TOOL_CALLS][{"name":, "arguments":}] or [TOOL_CALLS]name[ARGS]{}
  kFunctionaryV31,  // <function=name>{}</function>
  kFunctionaryV32,  // >>>name\n{}
  kDeepSeek,        // <｜tool▁call▁begin｜>function<｜tool▁sep｜>name\n```json\n{}\n```
  kCommandR7b,      // <|START_ACTION|>[{"tool_name":, "parameters":}]<|END_ACTION|>
  kCommandRPlus,    // Action:\n```json\n[{"tool_name":, "parameters":}]\n```
  kFirefunction,    // functools[{"name":, "arguments":}]
};

std::string_view name_of(ToolCallFormat format);

// The format that a chat template shows to its model; kHermes where it shows none.
ToolCallFormat detect_tool_call_format(std::string_view template_source);

// A text that means something to the parser, and what.
struct ToolMarker {
  enum class Action : std::uint8_t {
    kIgnore,          // decoration: is left out
    kBeginReasoning,  // what follows is thought, not said
    kEndReasoning,
    kObject,  // a call follows as a JSON object
    kList,    // a JSON list of calls follows
    kNamed,   // a name up to `name_end`, then arguments up to `arguments_end`
    kPython,  // a call in one of Llama's forms: JSON, tool.call(x="y"), or code for the tool
              // `python`
  };

  std::string_view text;
  Action action = Action::kIgnore;
  std::string_view name_end = {};
  std::string_view arguments_end = {};
};

// The markers of a format, those of <think> included.
std::span<const ToolMarker> markers_of(ToolCallFormat format);

}  // namespace tandem
