// Request bodies as every generating route reads them: JSON, fields, sampling, grammars and
// schemas, messages through a chat template. The first byte chooses the model's template.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "server/http/http_message.h"
#include "server/openai/chat.h"
#include "server/request_fields.h"
#include "server/structured_output.h"
#include "text/chat_template.h"
#include "text/vocabularies_for_test.h"

namespace {

// Knows tools and takes messages apart, so that all kinds of values reach the template's code.
constexpr std::string_view kTemplate =
    "{% for m in messages %}{{ m.role }}:{% if m.content is string %}{{ m.content }}{% else %}"
    "{{ m.content | tojson }}{% endif %}{% for c in m.tool_calls or [] %}{{ c | tojson }}"
    "{% endfor %}{% endfor %}{{ tools | tojson if tools else '' }}";

tandem::ServedModel make_model(std::string_view source) {
  using namespace tandem;
  ServedModel model;
  model.tokenizer = make_tokenizer(small_bpe_fields());
  model.chat_template =
      std::make_shared<ChatTemplate>(ChatTemplate::create(source, "<|bos|>", "<|eos|>").value());
  model.make_constraint = make_constraint_compiler(model.tokenizer);
  return model;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tandem;
  static const ServedModel models[] = {make_model(ChatTemplate::kChatMl), make_model(kTemplate)};
  if (size == 0) return 0;
  const ServedModel& model = models[data[0] % 2];
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);

  HttpRequest target;
  parse_target(body, target);
  const auto parsed = parse_body(body);
  if (!std::holds_alternative<Json>(parsed)) return 0;
  FieldReader reader(std::get<Json>(parsed));
  GenerationRequest request;
  read_generation(reader, model, request);
  read_stream(reader);
  render_chat(reader, model);
  if (reader.error()) error_response(*reader.error(), Dialect::kOpenAi);
  return 0;
}
