#include "text/tool_calls/tool_call_parser.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "text/tool_calls/python_call.h"

namespace tandem {
namespace {

using Format = ToolCallFormat;

// An answer in one line: content, then (reasoning), then each call as name(arguments).
struct Answer {
  std::string content;
  std::string reasoning;
  std::vector<std::pair<std::string, std::string>> calls;

  void add(const ChatDelta& delta) {
    content += delta.content;
    reasoning += delta.reasoning;
    for (const ToolCallDelta& call : delta.calls) {
      if (!call.name.empty()) {
        EXPECT_EQ(call.index, static_cast<std::int32_t>(calls.size()));
        EXPECT_FALSE(call.id.empty());
        calls.emplace_back(call.name, "");
      }
      ASSERT_FALSE(calls.empty());
      EXPECT_EQ(call.index, static_cast<std::int32_t>(calls.size()) - 1);
      calls.back().second += call.arguments;
    }
  }
  std::string to_string() const {
    std::string text = content;
    if (!reasoning.empty()) text += " (" + reasoning + ")";
    for (const auto& [name, arguments] : calls) text += " " + name + arguments;
    return text;
  }
};

ToolCallParserOptions options_for(Format format) {
  ToolCallParserOptions options;
  options.format = format;
  options.tool_names = {"f", "get_weather", "python", "brave_search"};
  return options;
}

// In pieces of `piece_bytes`, as a stream would bring it.
std::string parsed(const ToolCallParserOptions& options, std::string_view text,
                   std::size_t piece_bytes) {
  ToolCallParser parser(options);
  Answer answer;
  for (std::size_t at = 0; at < text.size(); at += piece_bytes)
    answer.add(parser.push(text.substr(at, piece_bytes)));
  answer.add(parser.finish());
  EXPECT_EQ(parser.num_calls(), static_cast<std::int32_t>(answer.calls.size()));
  return answer.to_string();
}

struct Example {
  Format format;
  std::string text;
  std::string expected;
};

const Example kExamples[] = {
    // Hermes, Qwen
    {Format::kHermes, "Just text.\n", "Just text.\n"},
    {Format::kHermes,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, \"}\"]}}\n</tool_call>",
     " f{\"x\": [1, \"}\"]}"},
    {Format::kHermes,
     "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": "
     "{}}\n</tool_call>\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": "
     "\"Ö\"}}\n</tool_call>\n",
     "Let me see. f{} get_weather{\"city\": \"Ö\"}"},
    {Format::kHermes, "<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"f\"}</tool_call>",
     " f{\"a\": 1}"},
    {Format::kHermes, "<tool_call>{\"name\": \"f\"}</tool_call> done", "done f{}"},
    {Format::kHermes,
     "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": \\\"\\u00e9\\\"}\"}</tool_call>",
     " f{\"a\": \"é\"}"},
    {Format::kHermes, "<tool_call>{\"name\": \"f\", \"arguments\": null, \"other\": [</tool_call>",
     " f{}"},
    {Format::kHermes,
     "<tool_call>{\"type\": \"function\", \"n\": 1.5e3, \"function\": {\"name\": \"f\", "
     "\"arguments\": {\"a\": {}}}}</tool_call>",
     " f{\"a\": {}}"},
    {Format::kHermes, "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
     "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}"},
    {Format::kHermes, "<tool_call>oops", "<tool_call>oops"},
    {Format::kHermes, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"cut of",
     " f{\"a\": \"cut of"},
    {Format::kHermes, "<tool_call>{\"nam", "<tool_call>{\"nam"},
    {Format::kHermes, "a < b <tool", "a < b <tool"},
    {Format::kHermes, "<think>\nWell.\n</think>\n\nHello <b>", "Hello <b> (Well.)"},
    {Format::kHermes, "<think>a <tool_call> b</think><tool_call>{\"name\":\"f\"}</tool_call>",
     " (a <tool_call> b) f{}"},
    // Llama 3
    {Format::kLlama3, "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Oslo\"}}",
     " get_weather{\"city\": \"Oslo\"}"},
    {Format::kLlama3, " \n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}<|eom_id|>",
     " f{}"},
    {Format::kLlama3,
     "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"f\", \"parameters\": {\"a\": 2}}",
     " f{} f{\"a\": 2}"},
    {Format::kLlama3, "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
     " f{\"a\": 1}"},
    {Format::kLlama3, "<|python_tag|>brave_search.call(query=\"a \\\"b\\\"\", n=3)<|eom_id|>",
     " brave_search{\"query\":\"a \\\"b\\\"\",\"n\":3}"},
    {Format::kLlama3, "<|python_tag|>print(1)\nx = 2<|eom_id|>",
     " python{\"code\":\"print(1)\\nx = 2\"}"},
    {Format::kLlama3, "{\"answer\": 42}", "{\"answer\": 42}"},
    {Format::kLlama3, "The JSON is {\"name\": \"f\"}.", "The JSON is {\"name\": \"f\"}."},
    {Format::kLlama3, "{not json", "{not json"},
    // Mistral
    {Format::kMistral,
     "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abcdefghi\"}, {\"name\": "
     "\"get_weather\", \"arguments\": {}}]",
     " f{\"a\": 1} get_weather{}"},
    {Format::kMistral, "Sure. [TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}]\n", "Sure. f{}"},
    {Format::kMistral, "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]get_weather[ARGS]{}",
     " f{\"a\": 1} get_weather{}"},
    {Format::kMistral, "[TOOL_CALLS]f{\"a\": 1}", " f{\"a\": 1}"},
    {Format::kMistral, "[TOOL", "[TOOL"},
    {Format::kMistral, "[TOOL_CALLS] none", "[TOOL_CALLS] none"},
    // functionary
    {Format::kFunctionaryV31, "Hi <function=f>{\"a\": \"</function>\"}</function>",
     "Hi f{\"a\": \"</function>\"}"},
    {Format::kFunctionaryV31, "<function=python>print(1)</function><|eom_id|>",
     " python{\"code\":\"print(1)\"}"},
    {Format::kFunctionaryV31, "<function=f></function>", " f{}"},
    {Format::kFunctionaryV31, "<function=nope>{}</function>!", "<function=nope>{}!"},
    {Format::kFunctionaryV32, "all\nHello\nyou", "Hello\nyou"},
    {Format::kFunctionaryV32, "f\n{\"a\": 1}>>>get_weather\n{\"city\": \">>>\"}",
     " f{\"a\": 1} get_weather{\"city\": \">>>\"}"},
    {Format::kFunctionaryV32, "all\nLet me see.>>>f\n{}", "Let me see. f{}"},
    {Format::kFunctionaryV32, "python\nprint(1)\nprint(2)",
     " python{\"code\":\"print(1)\\nprint(2)\"}"},
    {Format::kFunctionaryV32, "all", "all"},
    // DeepSeek
    {Format::kDeepSeek,
     "<think>hm</"
     "think>\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": "
     "\"```\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```"
     "json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
     " (hm) f{\"a\": \"```\"} get_weather{}"},
    {Format::kDeepSeek, "No <｜tool", "No <｜tool"},
    // Command R
    {Format::kCommandR7b,
     "<|START_THINKING|>plan<|END_THINKING|><|START_ACTION|>[\n {\"tool_call_id\": \"0\", "
     "\"tool_name\": \"f\", \"parameters\": {\"a\": 1}},\n {\"tool_call_id\": \"1\", "
     "\"tool_name\": \"f\", \"parameters\": {}}\n]<|END_ACTION|>",
     " (plan) f{\"a\": 1} f{}"},
    {Format::kCommandR7b, "<|START_RESPONSE|>Hello.<|END_RESPONSE|>", "Hello."},
    {Format::kCommandRPlus,
     "Action:\n```json\n[\n {\n \"tool_name\": \"f\",\n \"parameters\": {\n \"a\": 1\n }\n "
     "}\n]\n```",
     " f{\n \"a\": 1\n }"},
    {Format::kCommandRPlus,
     "Action: ```json\n[{\"tool_name\": \"directly-answer\", \"parameters\": {}}]\n```", ""},
    // firefunction
    {Format::kFirefunction,
     " functools[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"f\", \"arguments\": {\"b\": "
     "[]}}]",
     " f{} f{\"b\": []}"},
    {Format::kFirefunction, "I like functools.partial", "I like functools.partial"},
};

TEST(ToolCallParserTest, TellsCallsFromTextHoweverItIsCut) {
  for (const Example& example : kExamples) {
    for (const std::size_t piece_bytes : {1, 2, 3, 7, 1000}) {
      EXPECT_EQ(parsed(options_for(example.format), example.text, piece_bytes), example.expected)
          << name_of(example.format) << " in pieces of " << piece_bytes << ": " << example.text;
    }
  }
}

TEST(ToolCallParserTest, StreamsArgumentsAsTheyCome) {
  ToolCallParser parser(options_for(Format::kHermes));
  EXPECT_EQ(parser.push("Hi ").content, "Hi");
  EXPECT_TRUE(parser.push("<tool_").empty());
  EXPECT_TRUE(parser.push("call>{\"name\": \"f\"").calls.at(0).name == "f");
  EXPECT_EQ(parser.push(", \"arguments\": {\"a").calls.at(0).arguments, "{\"a");
  const ChatDelta more = parser.push("\": 1");
  ASSERT_EQ(more.calls.size(), 1u);
  EXPECT_EQ(more.calls[0].arguments, "\": 1");
  EXPECT_TRUE(more.calls[0].name.empty() && more.calls[0].id.empty());
  EXPECT_EQ(parser.push("}}").calls.at(0).arguments, "}");
  EXPECT_TRUE(parser.push("</tool_call>").empty());
  EXPECT_TRUE(parser.finish().empty());
}

TEST(ToolCallParserTest, WithoutToolsAllIsContent) {
  ToolCallParserOptions options;
  EXPECT_EQ(parsed(options, "<tool_call>{\"name\": \"f\"}", 4), "<tool_call>{\"name\": \"f\"}");
  options.format = Format::kLlama3;
  EXPECT_EQ(parsed(options, "{\"name\": \"f\"}", 4), "{\"name\": \"f\"}");
  options.format = Format::kFunctionaryV32;
  EXPECT_EQ(parsed(options, "all\nHi", 4), "Hi");
}

TEST(ToolCallParserTest, ReasoningMayStayInTheContentOrStartBeforeTheAnswer) {
  ToolCallParserOptions options;
  options.separate_reasoning = false;
  EXPECT_EQ(parsed(options, "<think>a</think>b", 3), "<think>a</think>b");
  options.separate_reasoning = true;
  options.starts_in_reasoning = true;
  EXPECT_EQ(parsed(options, "\nI think.\n</think>\n\nYes.", 3), "Yes. (I think.)");
  EXPECT_EQ(parsed(options, "cut off", 3), " (cut off)");
}

TEST(ToolCallParserTest, IdsFitTheFormat) {
  ToolCallParser mistral(options_for(Format::kMistral));
  EXPECT_EQ(mistral.push("[TOOL_CALLS]f[ARGS]{").calls.at(0).id.size(), 9u);
  ToolCallParser hermes(options_for(Format::kHermes));
  const auto first = hermes.push("<tool_call>{\"name\": \"f\"}</tool_call>").calls.at(0).id;
  const auto second = hermes.push("<tool_call>{\"name\": \"f\"}</tool_call>").calls.at(0).id;
  EXPECT_EQ(first.substr(0, 5), "call_");
  EXPECT_NE(first, second);
}

TEST(ToolCallParserTest, AnyBytesAreTaken) {
  std::mt19937 random(11);
  for (const Example& example : kExamples) {
    for (int round = 0; round < 20; ++round) {
      std::string text = example.text + example.text;
      for (int i = 0; i < 3; ++i) text[random() % text.size()] = static_cast<char>(random());
      ToolCallParser parser(options_for(example.format));
      std::size_t said = 0;
      for (const char c : text) said += parser.push({&c, 1}).content.size();
      said += parser.finish().content.size();
      EXPECT_LE(said, text.size());
    }
  }
}

TEST(PythonCall, ReadsCallsOfBuiltInTools) {
  EXPECT_EQ(parse_python_call("f.call()")->arguments, "{}");
  EXPECT_EQ(parse_python_call("f.call(a=True, b=None, c=-1.5)")->arguments,
            R"({"a":true,"b":null,"c":-1.5})");
  for (const char* text : {"", "f", "f.call", "f.call(", "f.call(a)", "f.call(a=)", "f.call(a=\"x)",
                           "f.call(a=[1])", "f.call() x", "print(1)"}) {
    EXPECT_FALSE(parse_python_call(text)) << text;
  }
}

TEST(ToolCallFormatTest, IsDetectedFromTheTemplate) {
  const auto folder = std::filesystem::path(TANDEM_SHARED_DIR) / "chat_templates";
  if (!std::filesystem::is_directory(folder)) GTEST_SKIP() << folder << " is not there";
  const std::pair<const char*, Format> kExpected[] = {
      {"CohereForAI-c4ai-command-r-plus-tool_use.jinja", Format::kCommandRPlus},
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja", Format::kCommandR7b},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", Format::kHermes},
      {"Qwen-Qwen2.5-7B-Instruct.jinja", Format::kHermes},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", Format::kDeepSeek},
      {"fireworks-ai-llama-3-firefunction-v2.jinja", Format::kFirefunction},
      {"google-gemma-2-2b-it.jinja", Format::kHermes},
      {"llama-cpp-deepseek-r1.jinja", Format::kDeepSeek},
      {"meetkai-functionary-medium-v3.1.jinja", Format::kFunctionaryV31},
      {"meetkai-functionary-medium-v3.2.jinja", Format::kFunctionaryV32},
      {"meta-llama-Llama-3.1-8B-Instruct.jinja", Format::kLlama3},
      {"meta-llama-Llama-3.2-3B-Instruct.jinja", Format::kLlama3},
      {"microsoft-Phi-3.5-mini-instruct.jinja", Format::kHermes},
      {"mistralai-Mistral-Nemo-Instruct-2407.jinja", Format::kMistral}};
  for (const auto& [file, format] : kExpected) {
    std::ifstream stream(folder / file);
    std::ostringstream text;
    text << stream.rdbuf();
    EXPECT_EQ(detect_tool_call_format(text.str()), format) << file;
  }
}

}  // namespace
}  // namespace tandem
