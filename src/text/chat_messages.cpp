#include "text/chat_messages.h"

#include <nlohmann/json.hpp>

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;
using NoContent = ChatCapabilities::NoContent;

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The text of a content that is a string, null or a list of text parts.
Result<Json> flattened(const Json& content, std::size_t index) {
  if (!content.is_array()) return content;
  std::string text;
  for (const Json& part : content) {
    const bool is_text = part.is_object() && part.value("type", Json()) == "text" &&
                         part.contains("text") && part["text"].is_string();
    if (!is_text) {
      return invalid_argument("messages[" + std::to_string(index) + "].content", "text parts only");
    }
    if (!text.empty()) text += '\n';
    text += part["text"].get_ref<const std::string&>();
  }
  return Json(std::move(text));
}

// Arguments as an object or as text, whichever the template wants. What is no JSON stays.
void convert_arguments(Json& call, bool as_text) {
  if (!call.is_object()) return;
  Json& function = call.contains("function") ? call["function"] : call;
  if (!function.is_object() || !function.contains("arguments")) return;
  Json& arguments = function["arguments"];
  if (as_text && !arguments.is_string()) {
    arguments = dumped(arguments);
  } else if (!as_text && arguments.is_string()) {
    // Depth-limited: parsing hostile nesting into a tree costs stack when it is copied.
    const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth < 100; };
    Json parsed = Json::parse(arguments.get_ref<const std::string&>(), shallow, false);
    if (!parsed.is_discarded()) arguments = std::move(parsed);
  }
}

Status adapt_message(Json& message, std::size_t index, const ChatCapabilities& capabilities) {
  const std::string where = "messages[" + std::to_string(index) + "]";
  if (!message.is_object()) return invalid_argument(where, "an object");
  if (!message.contains("role") || !message["role"].is_string()) {
    return invalid_argument(where + ".role", "a string");
  }
  if (message["role"] == "developer") message["role"] = "system";
  if (message.contains("content") && !capabilities.content_parts) {
    TANDEM_TRY(message["content"], flattened(message["content"], index));
  }
  const bool has_calls = message.contains("tool_calls") && message["tool_calls"].is_array() &&
                         !message["tool_calls"].empty();
  if (message.contains("tool_calls") && !has_calls) message.erase("tool_calls");
  const bool has_content =
      message.contains("content") && !message["content"].is_null() && message["content"] != "";
  if (!has_calls) {
    if (!has_content) message["content"] = "";
    return {};
  }
  for (Json& call : message["tool_calls"]) {
    convert_arguments(call, capabilities.arguments_as_text);
  }
  if (has_content) return {};
  if (capabilities.no_content == NoContent::kAbsent) {
    message.erase("content");
  } else {
    message["content"] = capabilities.no_content == NoContent::kNull ? Json(nullptr) : Json("");
  }
  return {};
}

// For templates that do not show tools: Hermes's way of asking for calls, which many models have
// seen (see ToolCallFormat::kHermes).
void describe_tools(Json& messages, const Json& tools) {
  std::string text =
      "You may call one or more functions to assist with the user query. The functions are given "
      "as JSON, one a line, within <tools></tools>:\n<tools>\n";
  for (const Json& tool : tools) text += dumped(tool) + "\n";
  text +=
      "</tools>\n\nFor each call, answer with a JSON object of the function's name and arguments "
      "within <tool_call></tool_call>:\n<tool_call>\n{\"name\": <function name>, \"arguments\": "
      "<arguments as an object>}\n</tool_call>";
  const bool has_system =
      !messages.empty() && messages[0]["role"] == "system" && messages[0]["content"].is_string();
  if (has_system) {
    messages[0]["content"] = messages[0]["content"].get_ref<const std::string&>() + "\n\n" + text;
  } else {
    messages.insert(messages.begin(), Json{{"role", "system"}, {"content", text}});
  }
}

// For templates that do not show calls.
void write_out_calls(Json& messages) {
  for (Json& message : messages) {
    if (!message.contains("tool_calls")) continue;
    std::string text;
    if (message.contains("content") && message["content"].is_string()) text = message["content"];
    for (Json& call : message["tool_calls"]) {
      convert_arguments(call, false);
      const Json& function =
          call.is_object() && call.contains("function") ? call["function"] : call;
      const auto get = [&function](const char* key) {
        return function.is_object() && function.contains(key) ? function[key] : Json();
      };
      const Json written = {{"name", get("name")}, {"arguments", get("arguments")}};
      text +=
          (text.empty() ? "<tool_call>\n" : "\n<tool_call>\n") + dumped(written) + "\n</tool_call>";
    }
    message.erase("tool_calls");
    message["content"] = text;
  }
}

// For templates that do not show what tools gave back: the user says it, all results in a row at
// once, since some templates want user and assistant to take turns.
void write_out_results(Json& messages) {
  Json others = Json::array();
  bool after_result = false;
  for (Json& message : messages) {
    const bool is_result = message["role"] == "tool";
    if (is_result) {
      const Json& content = message["content"];
      std::string text = dumped(content);
      if (content.is_string()) text = content.get<std::string>();
      text = "<tool_response>\n" + text + "\n</tool_response>";
      if (after_result) {
        others.back()["content"] =
            others.back()["content"].get_ref<const std::string&>() + "\n" + text;
      } else {
        others.push_back({{"role", "user"}, {"content", text}});
      }
    } else {
      others.push_back(std::move(message));
    }
    after_result = is_result;
  }
  messages = std::move(others);
}

// For templates without a system role: its text goes before the first user's.
void join_system_messages(Json& messages) {
  std::string system;
  Json others = Json::array();
  for (Json& message : messages) {
    if (message["role"] != "system") {
      others.push_back(std::move(message));
    } else if (message["content"].is_string()) {
      if (!system.empty()) system += "\n\n";
      system += message["content"].get_ref<const std::string&>();
    }
  }
  messages = std::move(others);
  if (system.empty()) return;
  for (Json& message : messages) {
    if (message["role"] != "user" || !message["content"].is_string()) continue;
    message["content"] = system + "\n\n" + message["content"].get_ref<const std::string&>();
    return;
  }
  messages.insert(messages.begin(), Json{{"role", "user"}, {"content", system}});
}

constexpr std::string_view kUserProbe = "tandem-user-probe";
constexpr std::string_view kProbe = "tandem-probe";

Json user_message() {
  return {{"role", "user"}, {"content", kUserProbe}};
}

Json call_message(const Json& arguments, NoContent no_content) {
  Json message = {{"role", "assistant"}};
  if (no_content != NoContent::kAbsent) {
    message["content"] = no_content == NoContent::kNull ? Json(nullptr) : Json("");
  }
  message["tool_calls"] =
      Json::array({{{"id", "call12345"},
                    {"type", "function"},
                    {"function", {{"name", kProbe}, {"arguments", arguments}}}}});
  return message;
}

std::optional<std::string> rendered(const ChatTemplate& chat_template, const Json& messages,
                                    const Json* tools = nullptr, bool prompt = false) {
  // Some templates cannot do without these two; see ChatTemplate::render.
  const Json extra = {{"functions", tools ? tools->dump() : ""}, {"datetime", "now"}};
  auto text = chat_template.render_exactly({&messages, tools, &extra, prompt, 0});
  return text.ok() ? std::optional(std::move(text).value()) : std::nullopt;
}

bool shows(const std::optional<std::string>& text, std::string_view what) {
  return text && text->find(what) != std::string::npos;
}

// Looks for a form of tool calls that the template prints well.
void probe_tool_calls(const ChatTemplate& chat_template, const Json* tools,
                      ChatCapabilities& capabilities) {
  const Json object = {{"probed_argument", "probed_value"}};
  for (const bool as_text : {false, true}) {
    const Json arguments = as_text ? Json(object.dump()) : object;
    for (const auto no_content : {NoContent::kAbsent, NoContent::kNull, NoContent::kEmpty}) {
      const auto text = rendered(
          chat_template, Json::array({user_message(), call_message(arguments, no_content)}), tools);
      // \" would be an object written twice, 'probed one that went through str().
      const bool good = shows(text, kProbe) && shows(text, "probed_argument") &&
                        !shows(text, "\\\"probed_argument") && !shows(text, "'probed_argument") &&
                        !shows(text, "None");
      if (!good) continue;
      capabilities.tool_calls = true;
      capabilities.arguments_as_text = as_text;
      capabilities.no_content = no_content;
      return;
    }
  }
}

}  // namespace

ChatCapabilities probe_capabilities(const ChatTemplate& chat_template) {
  ChatCapabilities capabilities;
  const Json user = Json::array({user_message()});
  const Json parameters = {{"type", "object"},
                           {"properties", {{"x", {{"type", "string"}, {"description", "x"}}}}},
                           {"required", {"x"}}};
  const Json tools = Json::array(
      {{{"type", "function"},
        {"function", {{"name", kProbe}, {"description", "d"}, {"parameters", parameters}}}}});
  const Json no_tools = Json::array();
  auto plain = rendered(chat_template, user);
  capabilities.needs_tool_list = !plain && rendered(chat_template, user, &no_tools);
  const Json* none = capabilities.needs_tool_list ? &no_tools : nullptr;
  if (none) plain = rendered(chat_template, user, none);
  capabilities.generation_prompt = plain && plain != rendered(chat_template, user, none, true);
  capabilities.system_role = shows(
      rendered(chat_template,
               Json::array({{{"role", "system"}, {"content", kProbe}}, user_message()}), none),
      kProbe);
  capabilities.tools = shows(rendered(chat_template, user, &tools), kProbe);
  probe_tool_calls(chat_template, capabilities.tools ? &tools : none, capabilities);
  const Json parts = Json::array({{{"type", "text"}, {"text", kProbe}}});
  const auto with_parts =
      rendered(chat_template, Json::array({{{"role", "user"}, {"content", parts}}}));
  capabilities.content_parts =
      shows(with_parts, kProbe) && !shows(with_parts, "'text'") && !shows(with_parts, "\"text\"");
  const Json arguments = capabilities.arguments_as_text ? Json("{}") : Json::object();
  const Json result = {
      {"role", "tool"}, {"tool_call_id", "call12345"}, {"name", "f"}, {"content", "tandem-result"}};
  capabilities.tool_results = shows(
      rendered(
          chat_template,
          Json::array({user_message(), call_message(arguments, capabilities.no_content), result}),
          capabilities.tools ? &tools : none),
      "tandem-result");
  return capabilities;
}

Result<Json> adapt_messages(const Json& messages, const Json* tools,
                            const ChatCapabilities& capabilities) {
  if (!messages.is_array()) return invalid_argument("messages", "an array");
  Json adapted = messages;
  for (std::size_t i = 0; i < adapted.size(); ++i) {
    TANDEM_TRY_STATUS(adapt_message(adapted[i], i, capabilities));
  }
  const bool has_tools = tools && tools->is_array() && !tools->empty();
  const bool tools_as_text = has_tools && !capabilities.tools;
  if (tools_as_text || !capabilities.tool_calls) write_out_calls(adapted);
  if (tools_as_text || !capabilities.tool_results) write_out_results(adapted);
  if (tools_as_text) describe_tools(adapted, *tools);
  if (!capabilities.system_role) join_system_messages(adapted);
  return adapted;
}

}  // namespace tandem
