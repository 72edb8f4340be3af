#include "engine/grammar/tool_call_grammar.h"

#include <nlohmann/json.hpp>

#include "engine/grammar/json_schema.h"
#include "engine/grammar/schema_scalars.h"

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

// What stands around the calls, and around a call's name and arguments.
struct Frame {
  std::string_view before_all;
  std::string_view before_name;
  std::string_view before_arguments;
  std::string_view after_call;
  std::string_view between_calls;
  std::string_view after_all;
};

Frame frame_of(ToolCallFormat format) {
  switch (format) {
    case ToolCallFormat::kHermes:
      return {"", "<tool_call>\n{\"name\": \"", "\", \"arguments\": ", "}\n</tool_call>", "\n", ""};
    case ToolCallFormat::kLlama3:
      return {"", "{\"name\": \"", "\", \"parameters\": ", "}", "; ", ""};
    case ToolCallFormat::kMistral:
      return {"[TOOL_CALLS][", "{\"name\": \"", "\", \"arguments\": ", "}", ", ", "]"};
    case ToolCallFormat::kFunctionaryV31:
      return {"", "<function=", ">", "</function>", "\n", ""};
    case ToolCallFormat::kFunctionaryV32:
      return {"", "", "\n", "", ">>>", ""};
    case ToolCallFormat::kDeepSeek:
      return {"<｜tool▁calls▁begin｜>",
              "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
              "\n```json\n",
              "\n```<｜tool▁call▁end｜>",
              "\n",
              "<｜tool▁calls▁end｜>"};
    case ToolCallFormat::kCommandR7b:
      return {
          "<|START_ACTION|>[\n    ", "{\"tool_name\": \"", "\", \"parameters\": ", "}", ",\n    ",
          "\n]<|END_ACTION|>"};
    case ToolCallFormat::kCommandRPlus:
      return {"Action:\n```json\n[\n",
              "{\"tool_name\": \"",
              "\", \"parameters\": ",
              "}",
              ",\n",
              "\n]\n```"};
    case ToolCallFormat::kFirefunction:
      return {" functools[", "{\"name\": \"", "\", \"arguments\": ", "}", ", ", "]"};
  }
  return {};
}

GrammarExpr text(std::string_view bytes) {
  return text_expr(std::string(bytes));
}

Result<GrammarExpr> arguments_of(GrammarBuilder& builder, JsonRules& rules, const Json& function) {
  if (!function.contains("parameters")) return rules.object();
  const Json& schema = function["parameters"];
  const bool is_strict = function.contains("strict") && function["strict"] == true;
  if (!is_strict && !grammar_of_json_schema(schema).ok()) return rules.object();
  TANDEM_TRY(const std::int32_t rule, add_json_schema(builder, rules, schema));
  return rule_expr(rule);
}

}  // namespace

Result<Grammar> tool_call_grammar(ToolCallFormat format, const Json& tools, bool parallel) {
  if (!tools.is_array() || tools.empty()) return invalid_argument("there are no tools to call");
  GrammarBuilder builder;
  JsonRules rules(builder);
  const Frame frame = frame_of(format);
  std::vector<GrammarExpr> choices;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const bool is_wrapped = tools[i].is_object() && tools[i].contains("function");
    const Json& function = is_wrapped ? tools[i]["function"] : tools[i];
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string()) {
      return invalid_argument("tools[" + std::to_string(i) + "].function.name", "a string");
    }
    TANDEM_TRY(GrammarExpr arguments, arguments_of(builder, rules, function));
    const std::string quoted = json_text_of(function["name"]);
    choices.push_back(sequence_expr(
        {text(frame.before_name), text(std::string_view(quoted).substr(1, quoted.size() - 2)),
         text(frame.before_arguments), std::move(arguments), text(frame.after_call)}));
  }
  TANDEM_TRY(const GrammarExpr call, rules.add("call", choice_expr(std::move(choices))));
  auto more = repeat_expr(sequence_expr({text(frame.between_calls), call}), 0,
                          parallel ? GrammarExpr::kUnbounded : 0);
  const std::int32_t root = builder.declare("root");
  TANDEM_TRY_STATUS(builder.define(
      root, sequence_expr({text(frame.before_all), call, std::move(more), text(frame.after_all)})));
  return std::move(builder).build(root);
}

}  // namespace tandem
