#include "server/anthropic/openai_form.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace tandem {
namespace {

std::string text_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Puts a conversation's messages into OpenAI's form, one after the other.
class MessageConverter {
 public:
  explicit MessageConverter(FieldReader& reader) : reader_(reader) {}

  Json take_messages() { return std::move(messages_); }

  void add_system(const Json& content) {
    messages_.push_back({{"role", "system"}, {"content", text_of("system", content)}});
  }

  void add(const Json& message) {
    const bool is_message = message.is_object() && message.contains("content") &&
                            message.contains("role") && message.at("role").is_string();
    if (!is_message) return fail("'messages' must hold objects with 'role' and 'content'");
    const auto role = message.at("role").get<std::string>();
    const Json& content = message.at("content");
    if (content.is_string()) {
      messages_.push_back({{"role", role}, {"content", content.get<std::string>()}});
    } else if (!content.is_array()) {
      fail("a message's content must be text or a list of blocks");
    } else {
      add_blocks(role, content);
    }
  }

 private:
  void fail(std::string message) { reader_.fail("messages", std::move(message)); }

  // Results of calls are messages of their own, and stand before what the user says with them.
  void add_blocks(const std::string& role, const Json& blocks) {
    Json message = {{"role", role}, {"content", ""}};
    std::string text;
    for (const Json& block : blocks) {
      const std::string type = block.is_object() ? text_member(block, "type") : "";
      if (type == "text" && block.contains("text") && block["text"].is_string()) {
        text += block["text"].get<std::string>();
      } else if (type == "tool_result" && role == "user") {
        add_result(block);
      } else if (type == "tool_use" && role == "assistant") {
        message["tool_calls"].push_back(call_of(block));
      } else if (type == "thinking" && role == "assistant") {
        message["reasoning_content"] = text_member(block, "thinking");
      } else if (type != "redacted_thinking") {
        return fail(fmt::format("blocks of type '{}' are not supported in messages of role '{}'",
                                type, role));
      }
    }
    const bool only_results = role == "user" && text.empty() && !blocks.empty();
    if (only_results) return;
    message["content"] = std::move(text);
    messages_.push_back(std::move(message));
  }

  void add_result(const Json& block) {
    const auto content = block.find("content");
    std::string text;
    if (content != block.end() && !content->is_null()) text = text_of("messages", *content);
    messages_.push_back({{"role", "tool"},
                         {"tool_call_id", text_member(block, "tool_use_id")},
                         {"content", std::move(text)}});
  }

  Json call_of(const Json& block) {
    const auto input = block.find("input");
    const std::string arguments = input == block.end() ? "{}" : input->dump();
    return {{"id", text_member(block, "id")},
            {"type", "function"},
            {"function", {{"name", text_member(block, "name")}, {"arguments", arguments}}}};
  }

  // A text, or a list of text blocks.
  std::string text_of(std::string_view name, const Json& content) {
    if (content.is_string()) return content.get<std::string>();
    std::string text;
    if (!content.is_array()) {
      reader_.fail(name, fmt::format("'{}': the content must be text or a list of blocks", name));
    } else {
      for (const Json& block : content) {
        const bool is_text = block.is_object() && text_member(block, "type") == "text" &&
                             block.contains("text") && block["text"].is_string();
        if (!is_text) {
          reader_.fail(name, fmt::format("'{}': only blocks of text are supported here", name));
          break;
        }
        text += block["text"].get<std::string>();
      }
    }
    return text;
  }

  FieldReader& reader_;
  Json messages_ = Json::array();
};

Json tools_of(FieldReader& reader, const Json& tools) {
  Json result = Json::array();
  if (!tools.is_array()) {
    reader.fail("tools", "'tools' must be a list of tools");
    return result;
  }
  for (const Json& tool : tools) {
    const std::string type = tool.is_object() ? text_member(tool, "type") : "";
    if (!tool.is_object() || (!type.empty() && type != "custom")) {
      reader.fail("tools", "only tools that the client runs are supported");
      return result;
    }
    Json function = {{"name", text_member(tool, "name")}};
    if (const auto text = text_member(tool, "description"); !text.empty()) {
      function["description"] = text;
    }
    if (tool.contains("input_schema")) function["parameters"] = tool["input_schema"];
    if (text_member(function, "name").empty()) {
      reader.fail("tools", "each of 'tools' needs a name");
    }
    result.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return result;
}

void add_choice(FieldReader& reader, const Json& choice, Json& chat) {
  const std::string type = choice.is_object() ? text_member(choice, "type") : "";
  if (type == "auto" || type == "none") {
    chat["tool_choice"] = type;
  } else if (type == "any") {
    chat["tool_choice"] = "required";
  } else if (type == "tool") {
    chat["tool_choice"] = {{"type", "function"},
                           {"function", {{"name", text_member(choice, "name")}}}};
  } else {
    reader.fail("tool_choice", "'tool_choice.type' must be auto, any, tool or none");
    return;
  }
  const auto alone = choice.find("disable_parallel_tool_use");
  if (alone != choice.end() && *alone == true) chat["parallel_tool_calls"] = false;
}

}  // namespace

Json to_openai_chat(FieldReader& reader) {
  MessageConverter converter(reader);
  if (const Json* system = reader.find("system")) converter.add_system(*system);
  const Json* given = reader.find("messages");
  if (given == nullptr || !given->is_array() || given->empty()) {
    reader.fail("messages", "'messages' must be a list of at least one message");
    return Json::object();
  }
  for (const Json& message : *given) converter.add(message);
  Json chat = {{"messages", converter.take_messages()}};
  if (const Json* tools = reader.find("tools")) chat["tools"] = tools_of(reader, *tools);
  if (const Json* choice = reader.find("tool_choice")) add_choice(reader, *choice, chat);
  return chat;
}

}  // namespace tandem
