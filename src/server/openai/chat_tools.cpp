#include "server/openai/chat_tools.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "text/chat_template.h"

namespace tandem {
namespace {

struct ToolChoice {
  enum class Kind : std::uint8_t { kNone, kAuto, kRequired, kNamed };
  Kind kind = Kind::kAuto;
  std::string name;  // for kNamed
};

ToolChoice read_choice(FieldReader& reader) {
  using Kind = ToolChoice::Kind;
  const Json* choice = reader.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return {};
  if (*choice == "none") return {Kind::kNone, {}};
  if (*choice == "required" || *choice == "any") return {Kind::kRequired, {}};
  if (choice->is_object() && choice->contains("function")) {
    const Json& function = choice->at("function");
    if (function.is_object() && function.contains("name") && function.at("name").is_string()) {
      return {Kind::kNamed, function.at("name").get<std::string>()};
    }
  }
  reader.fail("tool_choice",
              "'tool_choice' must be none, auto, required, or "
              "{\"type\":\"function\",\"function\":{\"name\":...}}");
  return {};
}

// The function's name. Empty: there is none, and the reader has the error.
std::string read_name(FieldReader& reader, const Json& tool) {
  const auto function = tool.is_object() ? tool.find("function") : tool.end();
  const bool is_named = function != tool.end() && function->is_object() &&
                        function->contains("name") && function->at("name").is_string();
  if (is_named) return function->at("name").get<std::string>();
  reader.fail("tools", "each of 'tools' needs a function with a name");
  return {};
}

}  // namespace

ChatTools read_tools(FieldReader& reader, const ServedModel& model) {
  using Kind = ToolChoice::Kind;
  ChatTools result;
  result.parser.format = model.chat_template->tool_call_format();
  const ToolChoice choice = read_choice(reader);
  bool parallel = true;
  reader.read("parallel_tool_calls", parallel);
  if (choice.kind == Kind::kNone) return result;
  const Json* tools = reader.find("tools");
  Json callable = Json::array();  // what a forced call may be
  if (tools != nullptr && tools->is_array()) {
    for (const Json& tool : *tools) {
      const std::string name = read_name(reader, tool);
      result.parser.tool_names.push_back(name);
      if (choice.kind == Kind::kRequired || name == choice.name) callable.push_back(tool);
    }
  }
  if (choice.kind == Kind::kAuto || reader.error()) return result;
  if (callable.empty()) {
    reader.fail("tool_choice", choice.kind == Kind::kRequired
                                   ? "'tool_choice' wants a call, but there are no 'tools'"
                                   : fmt::format("no tool is named '{}'", choice.name));
    return result;
  }
  ConstraintRequest& forced = result.forced.emplace();
  forced.kind = ConstraintRequest::Kind::kToolCalls;
  forced.text = callable.dump();
  forced.call_format = result.parser.format;
  forced.several_calls = parallel && choice.kind == Kind::kRequired;
  return result;
}

}  // namespace tandem
