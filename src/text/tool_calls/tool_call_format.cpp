#include "text/tool_calls/tool_call_format.h"

namespace tandem {
namespace {

using Action = ToolMarker::Action;

constexpr ToolMarker kThink = {"<think>", Action::kBeginReasoning};
constexpr ToolMarker kEndThink = {"</think>", Action::kEndReasoning};

constexpr ToolMarker kHermes[] = {
    {"<tool_call>", Action::kObject}, {"</tool_call>", Action::kIgnore}, kThink, kEndThink};

constexpr ToolMarker kLlama3[] = {{"<|python_tag|>", Action::kPython},
                                  {"<|eom_id|>", Action::kIgnore},
                                  {"<|eot_id|>", Action::kIgnore},
                                  kThink,
                                  kEndThink};

constexpr ToolMarker kMistral[] = {
    {"[TOOL_CALLS]", Action::kNamed, "[ARGS]", "[TOOL_CALLS]"}, kThink, kEndThink};

constexpr ToolMarker kFunctionaryV31[] = {{"<function=", Action::kNamed, ">", "</function>"},
                                          {"</function>", Action::kIgnore},
                                          {"<|python_tag|>", Action::kPython},
                                          {"<|eom_id|>", Action::kIgnore},
                                          {"<|eot_id|>", Action::kIgnore}};

constexpr ToolMarker kFunctionaryV32[] = {{">>>", Action::kNamed, "\n", ">>>"},
                                          {"<|eot_id|>", Action::kIgnore}};

constexpr ToolMarker kDeepSeek[] = {{"<｜tool▁calls▁begin｜>", Action::kIgnore},
                                    {"<｜tool▁call▁begin｜>", Action::kNamed, "```json", "```"},
                                    {"<｜tool▁call▁end｜>", Action::kIgnore},
                                    {"<｜tool▁calls▁end｜>", Action::kIgnore},
                                    {"<｜end▁of▁sentence｜>", Action::kIgnore},
                                    kThink,
                                    kEndThink};

constexpr ToolMarker kCommandR7b[] = {{"<|START_ACTION|>", Action::kList},
                                      {"<|END_ACTION|>", Action::kIgnore},
                                      {"<|START_THINKING|>", Action::kBeginReasoning},
                                      {"<|END_THINKING|>", Action::kEndReasoning},
                                      {"<|START_RESPONSE|>", Action::kIgnore},
                                      {"<|END_RESPONSE|>", Action::kIgnore}};

constexpr ToolMarker kCommandRPlus[] = {{"Action:\n```json", Action::kList},
                                        {"Action: ```json", Action::kList}};

constexpr ToolMarker kFirefunction[] = {{"functools", Action::kList}};

}  // namespace

std::string_view name_of(ToolCallFormat format) {
  static constexpr std::string_view kNames[] = {
      "hermes",   "llama-3",     "mistral",        "functionary-v3.1", "functionary-v3.2",
      "deepseek", "command-r7b", "command-r-plus", "firefunction"};
  return kNames[static_cast<int>(format)];
}

ToolCallFormat detect_tool_call_format(std::string_view source) {
  // In this order: Llama's markers also appear in templates of models made from Llama.
  static constexpr std::pair<std::string_view, ToolCallFormat> kSigns[] = {
      {"<tool_call>", ToolCallFormat::kHermes},
      {"[TOOL_CALLS]", ToolCallFormat::kMistral},
      {"<｜tool▁call▁begin｜>", ToolCallFormat::kDeepSeek},
      {"<|START_ACTION|>", ToolCallFormat::kCommandR7b},
      {"directly-answer", ToolCallFormat::kCommandRPlus},
      {"functools[", ToolCallFormat::kFirefunction},
      {">>>all", ToolCallFormat::kFunctionaryV32},
      {"<function=", ToolCallFormat::kFunctionaryV31},
      {"ipython<|end_header_id|>", ToolCallFormat::kLlama3}};
  for (const auto& [sign, format] : kSigns) {
    if (source.find(sign) != std::string_view::npos) return format;
  }
  return ToolCallFormat::kHermes;
}

std::span<const ToolMarker> markers_of(ToolCallFormat format) {
  switch (format) {
    case ToolCallFormat::kHermes:
      return kHermes;
    case ToolCallFormat::kLlama3:
      return kLlama3;
    case ToolCallFormat::kMistral:
      return kMistral;
    case ToolCallFormat::kFunctionaryV31:
      return kFunctionaryV31;
    case ToolCallFormat::kFunctionaryV32:
      return kFunctionaryV32;
    case ToolCallFormat::kDeepSeek:
      return kDeepSeek;
    case ToolCallFormat::kCommandR7b:
      return kCommandR7b;
    case ToolCallFormat::kCommandRPlus:
      return kCommandRPlus;
    case ToolCallFormat::kFirefunction:
      return kFirefunction;
  }
  return {};
}

}  // namespace tandem
