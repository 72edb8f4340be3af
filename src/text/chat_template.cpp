#include "text/chat_template.h"

#include <ctime>
#include <nlohmann/json.hpp>

#include "gguf/gguf_file.h"
#include "text/chat_messages.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/json_form.h"
#include "text/jinja/parser.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxTemplateBytes = 1 << 20;

// Text of the special token whose id stands under `key`; empty where there is none.
std::string special_token(const GgufFile& file, std::string_view key) {
  const GgufValue* id = file.find(key);
  const GgufValue* tokens = file.find("tokenizer.ggml.tokens");
  const auto index = id ? id->as_uint() : std::nullopt;
  const auto* array = tokens ? tokens->as_array() : nullptr;
  const auto* texts =
      array ? std::get_if<std::vector<std::string_view>>(&array->elements) : nullptr;
  if (!index || !texts || *index >= texts->size()) return {};
  return std::string((*texts)[static_cast<std::size_t>(*index)]);
}

bool uses_functions_and_datetime(std::string_view source) {
  return source.find("+ functions") != source.npos && source.find("+ datetime") != source.npos;
}

// firefunction's template prints these two, which the caller must bring.
void add_functions_and_datetime(const ChatRequest& request, nlohmann::ordered_json& extra) {
  if (!extra.is_object()) return;
  if (!extra.contains("functions")) {
    const auto replace = nlohmann::ordered_json::error_handler_t::replace;
    extra["functions"] = request.tools ? request.tools->dump(2, ' ', false, replace) : "";
  }
  if (extra.contains("datetime")) return;
  const auto now = static_cast<std::time_t>(request.now_unix_s.value_or(std::time(nullptr)));
  std::tm parts{};
  char text[64] = "";
  if (gmtime_r(&now, &parts)) std::strftime(text, sizeof text, "%b %d %Y %H:%M:%S GMT", &parts);
  extra["datetime"] = text;
}

}  // namespace

const std::string_view ChatTemplate::kChatMl =
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

struct ChatTemplate::Parsed {
  jinja::Block block;
};

ChatTemplate::ChatTemplate() = default;
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

Result<ChatTemplate> ChatTemplate::create(std::string_view source, std::string bos, std::string eos,
                                          const jinja::Limits& limits) {
  if (source.size() > kMaxTemplateBytes) {
    return malformed("chat template", "too long", "at most 1 MiB",
                     std::to_string(source.size()) + " bytes");
  }
  auto block = jinja::parse_template(source);
  if (!block.ok()) return std::move(block).error().at("chat template");
  ChatTemplate made;
  made.source_ = std::string(source);
  made.bos_ = std::move(bos);
  made.eos_ = std::move(eos);
  made.limits_ = limits;
  made.parsed_ = std::make_shared<const Parsed>(Parsed{std::move(block).value()});
  made.capabilities_ = probe_capabilities(made);
  return made;
}

Result<ChatTemplate> ChatTemplate::from_gguf(const GgufFile& file) {
  TANDEM_TRY(const std::string_view source, file.get_string_or("tokenizer.chat_template", {}));
  auto made =
      create(source.empty() ? kChatMl : source, special_token(file, "tokenizer.ggml.bos_token_id"),
             special_token(file, "tokenizer.ggml.eos_token_id"));
  if (!made.ok()) return std::move(made).error().at(file.name());
  made->is_fallback_ = source.empty();
  return made;
}

Result<std::string> ChatTemplate::render_exactly(const ChatRequest& request) const {
  if (!request.messages || !request.messages->is_array()) {
    return invalid_argument("messages must be an array");
  }
  jinja::Interpreter interpreter(limits_, request.now_unix_s.value_or(std::time(nullptr)));
  const auto define = [&](std::string_view name, const nlohmann::ordered_json* json) -> Status {
    jinja::Value value = jinja::None{};
    if (json) {
      TANDEM_TRY(value, jinja::from_json(interpreter.budget(), *json));
    }
    interpreter.define(name, std::move(value));
    return {};
  };
  interpreter.define("bos_token", jinja::make_text(bos_));
  interpreter.define("eos_token", jinja::make_text(eos_));
  TANDEM_TRY_STATUS(define("messages", request.messages));
  TANDEM_TRY_STATUS(define("tools", request.tools));
  TANDEM_TRY_STATUS(define("documents", nullptr));
  interpreter.define("add_generation_prompt", request.add_generation_prompt);
  if (request.extra && request.extra->is_object()) {
    for (const auto& [name, value] :
         request.extra->get_ref<const nlohmann::ordered_json::object_t&>()) {
      TANDEM_TRY_STATUS(define(name, &value));
    }
  }
  auto text = interpreter.render(parsed_->block);
  if (!text.ok()) return std::move(text).error().at("chat template");
  return text;
}

ToolCallFormat ChatTemplate::tool_call_format() const {
  return capabilities_.tools ? detect_tool_call_format(source_) : ToolCallFormat::kHermes;
}

Result<std::string> ChatTemplate::render(const ChatRequest& request) const {
  if (!request.messages) return invalid_argument("messages must be an array");
  TANDEM_TRY(const nlohmann::ordered_json messages,
             adapt_messages(*request.messages, request.tools, capabilities_));
  ChatRequest adapted = request;
  adapted.messages = &messages;
  const auto no_tools = nlohmann::ordered_json::array();
  if (!request.tools && capabilities_.needs_tool_list) adapted.tools = &no_tools;
  nlohmann::ordered_json extra;
  if (uses_functions_and_datetime(source_)) {
    extra = request.extra ? *request.extra : nlohmann::ordered_json::object();
    add_functions_and_datetime(adapted, extra);
    adapted.extra = &extra;
  }
  return render_exactly(adapted);
}

}  // namespace tandem
