#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/tool_calls/json_call_reader.h"
#include "text/tool_calls/tool_call_format.h"

namespace tandem {

// A piece of a call of a tool, as OpenAI streams it: the first of a call brings id and name, all
// texts of `arguments` in a row are its JSON.
struct ToolCallDelta {
  std::int32_t index = 0;
  std::string id = {};
  std::string name = {};
  std::string arguments = {};
};

struct ChatDelta {
  std::string content = {};
  std::string reasoning = {};
  std::vector<ToolCallDelta> calls = {};

  bool empty() const { return content.empty() && reasoning.empty() && calls.empty(); }
};

struct ToolCallParserOptions {
  ToolCallFormat format = ToolCallFormat::kHermes;
  // What may be called: a "call" of anything else is content. Empty: no tools, all is content.
  std::vector<std::string> tool_names = {};
  // Thought (<think>...</think>) is told apart; else it stays in the content, marks included.
  bool separate_reasoning = true;
  // The prompt ended inside of a thought (DeepSeek R1's does).
  bool starts_in_reasoning = false;
  std::uint64_t id_seed = 0;  // of the calls' random ids
};

// Tells what a model says from what it calls, as its text comes. What might yet become a call is
// held back, and given out as content where it does not. Never fails; used by one thread at a time.
class ToolCallParser {
 public:
  explicit ToolCallParser(ToolCallParserOptions options);

  // More of the answer's text, control tokens rendered.
  ChatDelta push(std::string_view text);
  // The answer is over.
  ChatDelta finish();

  // Calls so far: with any, the answer's finish_reason is tool_calls.
  std::int32_t num_calls() const { return num_calls_; }

 private:
  enum class Mode { kSaying, kObject, kList, kName, kArguments, kPython };

  // Each takes what it can from pending_, and is false where it needs more of it.
  bool step(ChatDelta& delta);
  bool step_saying(ChatDelta& delta);
  bool step_object(ChatDelta& delta);
  bool step_list(ChatDelta& delta);
  bool step_name(ChatDelta& delta);
  bool step_arguments(ChatDelta& delta);
  bool step_python(ChatDelta& delta);

  bool looks_for(const ToolMarker& marker) const;
  void enter(const ToolMarker& marker);
  void start_object();
  // Moves the first `count` bytes from pending_ to taken_.
  void take(std::size_t count);
  void skip_blanks();
  void say(ChatDelta& delta, std::string_view text);
  // The object, list or name turned out to be none: it is said as it was written.
  bool take_back(ChatDelta& delta);
  bool is_tool(std::string_view name) const;
  void begin_call(ChatDelta& delta, std::string name);
  void add_arguments(ChatDelta& delta, std::string_view arguments);
  void end_call(ChatDelta& delta);
  bool call_code(ChatDelta& delta);
  std::string new_id();

  ToolCallParserOptions options_;
  std::mt19937_64 random_;
  Mode mode_ = Mode::kSaying;
  ToolMarker marker_;  // the one that led into mode_
  bool is_over_ = false;
  bool in_reasoning_ = false;
  bool said_anything_ = false;
  bool drops_space_ = false;  // until something else is said
  bool after_call_ = false;   // what stands here may be decoration, or the next call
  bool in_list_ = false;
  bool in_call_ = false;  // id and name have been given out
  bool call_has_arguments_ = false;
  bool is_silent_ = false;  // a call that means "no call"
  JsonCallReader reader_;
  std::string pending_;     // not yet looked at
  std::string taken_;       // looked at since the marker, to be taken back
  std::string held_space_;  // behind what was said
  std::string code_;
  std::int32_t num_calls_ = 0;
};

}  // namespace tandem
