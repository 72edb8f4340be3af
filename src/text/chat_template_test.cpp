#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kNow = 1721995200;  // tests/tools/transformers_jinja.py: NOW
const std::filesystem::path kTemplates =
    std::filesystem::path(TANDEM_SHARED_DIR) / "chat_templates";

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string fnv1a_64(std::string_view text) {
  std::uint64_t value = 0xCBF29CE484222325u;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

ChatTemplate made(std::string_view source) {
  auto result = ChatTemplate::create(source, "<s>", "</s>");
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().to_string());
  return std::move(result).value();
}

ChatTemplate shared(std::string_view file) {
  return made(contents_of(kTemplates / file));
}

#define SKIP_WITHOUT_TEMPLATES()                    \
  if (!std::filesystem::is_directory(kTemplates)) { \
    GTEST_SKIP() << kTemplates << " is not there";  \
  }

Json user(std::string_view text) {
  return {{"role", "user"}, {"content", text}};
}

Json weather_tools() {
  return Json::parse(R"([{"type": "function", "function": {"name": "get_weather",
    "description": "Weather", "parameters": {"type": "object", "properties": {"city":
    {"type": "string", "description": "City"}}, "required": ["city"]}}}])");
}

// A whole use of a tool, as OpenAI's clients send it: arguments in a string, content null.
Json tool_conversation() {
  return Json::parse(R"([{"role": "user", "content": "Weather in Oslo?"},
    {"role": "assistant", "content": null, "tool_calls": [{"id": "abcdef123", "type": "function",
      "function": {"name": "get_weather", "arguments": "{\"city\": \"Oslo\"}"}}]},
    {"role": "tool", "tool_call_id": "abcdef123", "name": "get_weather", "content": "rain"},
    {"role": "assistant", "content": "It rains."}, {"role": "user", "content": "Thanks"}])");
}

// Each real template with each conversation, byte for byte as Python's jinja2 renders it.
TEST(ChatTemplateTest, RendersRealTemplatesAsPythonDoes) {
  SKIP_WITHOUT_TEMPLATES();
  const Json document =
      Json::parse(contents_of(TANDEM_SOURCE_DIR "/tests/data/chat_expectations.json"));
  std::set<std::string> seen;
  for (const Json& row : document["expectations"]) {
    const auto file = row["template"].get<std::string>();
    seen.insert(file);
    const Json& conversation = document["conversations"][row["conversation"].get<std::string>()];
    const auto get = [&](const char* key) {
      return conversation.contains(key) ? &conversation[key] : nullptr;
    };
    const auto text = shared(file).render_exactly(
        {get("messages"), get("tools"), get("extra"), row["prompt"].get<bool>(), kNow});
    if (row.contains("error")) {
      EXPECT_FALSE(text.ok()) << row;
      continue;
    }
    ASSERT_TRUE(text.ok()) << row << "\n" << text.error().to_string();
    EXPECT_EQ(text->size(), row["bytes"].get<std::size_t>()) << row;
    EXPECT_EQ(fnv1a_64(*text), row["fnv1a"].get<std::string>()) << row << "\n" << *text;
  }
  std::set<std::string> present;
  for (const auto& entry : std::filesystem::directory_iterator(kTemplates)) {
    present.insert(entry.path().filename().string());
  }
  EXPECT_EQ(seen, present) << "run tests/tools/make_chat_expectations.py again";
}

TEST(ChatTemplateTest, AdaptsToolConversationsToEveryTemplate) {
  SKIP_WITHOUT_TEMPLATES();
  const Json tools = weather_tools();
  const Json messages = tool_conversation();
  for (const auto& entry : std::filesystem::directory_iterator(kTemplates)) {
    const auto file = entry.path().filename().string();
    const ChatTemplate chat_template = shared(file);
    const auto text = chat_template.render({&messages, &tools, nullptr, true, kNow});
    ASSERT_TRUE(text.ok()) << file << ": " << text.error().to_string();
    EXPECT_NE(text->find("get_weather"), std::string::npos) << file << "\n" << *text;
    EXPECT_NE(text->find("rain"), std::string::npos) << file << "\n" << *text;
    EXPECT_NE(text->find("Oslo\""), std::string::npos) << file << "\n" << *text;
    EXPECT_EQ(text->find("\\\"Oslo"), std::string::npos) << file << ": escaped twice\n" << *text;
    EXPECT_EQ(text->find("None"), std::string::npos) << file << "\n" << *text;
  }
}

TEST(ChatTemplateTest, AdaptsSystemMessagesToEveryTemplate) {
  SKIP_WITHOUT_TEMPLATES();
  const Json messages =
      Json::parse(R"([{"role": "developer", "content": [{"type": "text", "text": "Be terse."}]},
    {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}])");
  for (const auto& entry : std::filesystem::directory_iterator(kTemplates)) {
    const auto file = entry.path().filename().string();
    const auto text = shared(file).render({&messages, nullptr, nullptr, true, kNow});
    ASSERT_TRUE(text.ok()) << file << ": " << text.error().to_string();
    EXPECT_NE(text->find("Be terse."), std::string::npos) << file << "\n" << *text;
    EXPECT_NE(text->find("one\ntwo"), std::string::npos) << file << "\n" << *text;
  }
}

TEST(ChatTemplateTest, ProbesCapabilities) {
  SKIP_WITHOUT_TEMPLATES();
  using NoContent = ChatCapabilities::NoContent;
  const auto qwen = shared("Qwen-Qwen2.5-7B-Instruct.jinja").capabilities();
  EXPECT_TRUE(qwen.system_role && qwen.tools && qwen.tool_calls && qwen.tool_results &&
              qwen.generation_prompt);
  EXPECT_FALSE(qwen.arguments_as_text || qwen.content_parts || qwen.needs_tool_list);
  const auto gemma = shared("google-gemma-2-2b-it.jinja").capabilities();
  EXPECT_FALSE(gemma.system_role || gemma.tools || gemma.tool_calls || gemma.tool_results);
  EXPECT_TRUE(gemma.generation_prompt);
  const auto phi = shared("microsoft-Phi-3.5-mini-instruct.jinja").capabilities();
  EXPECT_TRUE(phi.system_role);
  EXPECT_FALSE(phi.tools || phi.tool_calls);
  const auto deepseek = shared("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja").capabilities();
  EXPECT_TRUE(deepseek.tool_calls && deepseek.arguments_as_text);
  EXPECT_FALSE(deepseek.tools);
  EXPECT_EQ(deepseek.no_content, NoContent::kNull);
  EXPECT_TRUE(
      shared("NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja").capabilities().needs_tool_list);
  const auto mistral = shared("mistralai-Mistral-Nemo-Instruct-2407.jinja").capabilities();
  EXPECT_TRUE(mistral.tools && mistral.tool_calls && mistral.tool_results &&
              !mistral.generation_prompt);
}

TEST(ChatTemplateTest, WritesOutToolsThatATemplateDoesNotShow) {
  const ChatTemplate chatml = made(ChatTemplate::kChatMl);
  EXPECT_EQ(chatml.tool_call_format(), ToolCallFormat::kHermes);
  const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f"}}])");
  const Json messages = Json::parse(R"([{"role": "user", "content": "Go"},
    {"role": "assistant", "content": "Yes", "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
    {"role": "tool", "content": "one"}, {"role": "tool", "content": "two"}])");
  const std::string text = *chatml.render({&messages, &tools});
  const std::size_t turn = text.find("<|im_start|>user");
  EXPECT_NE(text.substr(0, turn).find("\n" + tools[0].dump() + "\n</tools>"), std::string::npos)
      << text;
  EXPECT_EQ(
      text.substr(turn),
      "<|im_start|>user\nGo<|im_end|>\n<|im_start|>assistant\nYes\n<tool_call>\n"
      "{\"name\":\"f\",\"arguments\":{\"x\":1}}\n</tool_call><|im_end|>\n<|im_start|>user\n"
      "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response><|im_end|>\n"
      "<|im_start|>assistant\n");
}

TEST(ChatTemplateTest, FallbackIsChatMl) {
  const ChatTemplate chatml = made(ChatTemplate::kChatMl);
  const Json messages = Json::array({{{"role", "system"}, {"content", "S"}}, user("Hi")});
  EXPECT_EQ(
      *chatml.render({&messages}),
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_TRUE(chatml.capabilities().system_role && chatml.capabilities().generation_prompt);
  EXPECT_FALSE(chatml.capabilities().tools);
}

TEST(ChatTemplateTest, KeepsTheOrderOfKeys) {
  const Json tools = Json::parse(R"([{"z": 1, "a": {"y": 2, "b": 3}}])");
  const Json messages = Json::array({user("x")});
  EXPECT_EQ(*made("{{ tools|tojson }}").render({&messages, &tools}),
            R"([{"z": 1, "a": {"y": 2, "b": 3}}])");
}

TEST(ChatTemplateTest, BadRequestsAreNamed) {
  const ChatTemplate chatml = made(ChatTemplate::kChatMl);
  const auto error = [&](const char* messages) {
    const Json json = Json::parse(messages);
    const auto text = chatml.render({&json});
    return text.ok() ? "none" : text.error().to_string();
  };
  EXPECT_EQ(error("{}"), "messages (expected an array)");
  EXPECT_EQ(error("[1]"), "messages[0] (expected an object)");
  EXPECT_EQ(error(R"([{"role": "user", "content": "x"}, {"role": 5}])"),
            "messages[1].role (expected a string)");
  EXPECT_EQ(error(R"([{"role": "user", "content": [{"type": "image_url"}]}])"),
            "messages[0].content (expected text parts only)");
}

TEST(ChatTemplateTest, BrokenTemplatesAreMalformed) {
  const auto result = ChatTemplate::create("{% if %}", "", "");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kMalformed);
  EXPECT_EQ(result.error().to_string().substr(0, 21), "chat template: line 1");
  EXPECT_FALSE(ChatTemplate::create(std::string(2 << 20, 'x'), "", "").ok());
}

}  // namespace
}  // namespace tandem
