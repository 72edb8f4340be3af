#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/jinja/budget.h"
#include "text/tool_calls/tool_call_format.h"

namespace tandem {

class GgufFile;

// What is rendered. The JSON values are OpenAI's, keep their keys' order (templates print them)
// and must outlive the call; null stands for "none given".
struct ChatRequest {
  const nlohmann::ordered_json* messages = nullptr;  // array of objects; required
  const nlohmann::ordered_json* tools = nullptr;     // array of {"type":"function","function":{}}
  const nlohmann::ordered_json* extra = nullptr;     // object: more names for the template
  bool add_generation_prompt = true;
  std::optional<std::int64_t> now_unix_s =
      std::nullopt;  // what strftime_now() says; the system's clock if unset
};

// What a template does with its input, found by rendering probes.
struct ChatCapabilities {
  enum class NoContent { kAbsent, kNull, kEmpty };

  bool system_role = false;
  bool tools = false;              // the tools' names appear
  bool needs_tool_list = false;    // fails where tools is none: wants an empty list
  bool tool_calls = false;         // an assistant's calls appear
  bool tool_results = false;       // a message of role "tool" appears
  bool content_parts = false;      // content may be a list of {"type":"text","text":...}
  bool generation_prompt = false;  // add_generation_prompt makes a difference
  bool arguments_as_text = false;  // a call's arguments must be JSON in a string, not an object
  NoContent no_content = NoContent::kNull;  // what stands beside tool calls that have no text
};

// A model's chat template (Jinja), as transformers' apply_chat_template would render it: sandboxed,
// trim_blocks and lstrip_blocks on, loop controls, tojson without ASCII escapes. Besides: an
// iterator may be given to tojson. Immutable, safe to share.
class ChatTemplate {
 public:
  // bos, eos: the tokens' texts, seen as bos_token and eos_token. Runs the probes: some ten
  // renderings. Errors: kMalformed (line), kUnsupported (tags that no chat template has).
  static Result<ChatTemplate> create(std::string_view source, std::string bos, std::string eos,
                                     const jinja::Limits& limits = {});
  // The template under `tokenizer.chat_template`, with the special tokens' texts from
  // `tokenizer.ggml.tokens`. A file without one gets kChatMl.
  static Result<ChatTemplate> from_gguf(const GgufFile& file);

  // <|im_start|>role\ncontent<|im_end|>\n for each message: what models without a template of
  // their own are most likely to follow.
  static const std::string_view kChatMl;

  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // Renders the request as it stands. Errors: kInvalidArgument with the template's line and its
  // message (raise_exception), or with the limit that was hit.
  Result<std::string> render_exactly(const ChatRequest& request) const;

  // The same after the messages were put in the form that this template understands: system
  // message joined to the first user's where there is no system role, lists of text parts to one
  // text, arguments of calls to objects or text, developer to system. Tools, calls and results that
  // the template does not show are written out as text, in the way of ToolCallFormat::kHermes.
  // Names that firefunction-like templates expect (functions: the tools' JSON, datetime) are
  // defined where the template uses both. Errors: also a message that is no object or has no role.
  Result<std::string> render(const ChatRequest& request) const;

  // How the model will write its calls, having read what render() gives it.
  ToolCallFormat tool_call_format() const;
  const ChatCapabilities& capabilities() const { return capabilities_; }
  // The template's text, and whether it is the fallback.
  const std::string& source() const { return source_; }
  bool is_fallback() const { return is_fallback_; }

 private:
  struct Parsed;
  ChatTemplate();

  std::string source_;
  std::string bos_;
  std::string eos_;
  bool is_fallback_ = false;
  jinja::Limits limits_;
  std::shared_ptr<const Parsed> parsed_;
  ChatCapabilities capabilities_;
};

}  // namespace tandem
