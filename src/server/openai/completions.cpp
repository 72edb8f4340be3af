#include "server/openai/completions.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/openai/completion_writer.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxPrompts = 128;
constexpr std::int32_t kDefaultMaxTokens = 16;  // OpenAI's, for this route

// A text, token ids, or a list of several of either.
std::vector<std::vector<std::int32_t>> read_prompts(FieldReader& reader, const ServedModel& model) {
  const Json* prompt = reader.find("prompt");
  std::vector<std::vector<std::int32_t>> prompts;
  if (prompt == nullptr) {
    reader.fail("prompt", "'prompt' is missing");
    return prompts;
  }
  const bool is_several = prompt->is_array() && !prompt->empty() &&
                          (prompt->front().is_string() || prompt->front().is_array());
  if (!is_several) {
    prompts.push_back(read_prompt(reader, "prompt", *prompt, model));
  } else if (prompt->size() > kMaxPrompts) {
    reader.fail("prompt", fmt::format("'prompt' must hold at most {} prompts", kMaxPrompts));
  } else {
    for (const Json& entry : *prompt) {
      prompts.push_back(read_prompt(reader, "prompt", entry, model));
    }
  }
  return prompts;
}

}  // namespace

void serve_completions(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  GenerationRequest request;
  read_generation(reader, model, request);
  const StreamFields stream = read_stream(reader);
  // A number here; llama.cpp's clients say n_probs.
  reader.read("logprobs", request.sampling.num_logprobs, 0, 20);
  reader.read("n_probs", request.sampling.num_logprobs, 0, 20);
  if (!reader.has("max_tokens") && !reader.has("n_predict") && request.max_tokens < 0) {
    request.max_tokens = kDefaultMaxTokens;
  }
  bool echo = false;
  reader.read("echo", echo);
  if (reader.has("suffix")) reader.fail("suffix", "'suffix' is not supported");
  std::vector<std::vector<std::int32_t>> prompts;
  if (!reader.error()) prompts = read_prompts(reader, model);
  if (reader.error()) return refuse(*exchange, *reader.error());

  auto writer = std::make_unique<CompletionWriter>(
      model, exchange, stream, request.sampling.num_logprobs >= 0, request.num_choices);
  std::vector<std::string> echoes;
  std::vector<GenerationRequest> requests;
  for (auto& prompt : prompts) {
    if (echo) echoes.push_back(model.tokenizer->decode(prompt));
    requests.push_back(request);
    requests.back().prompt = std::move(prompt);
  }
  writer->set_echo(std::move(echoes));
  run_generation(model, exchange, std::move(requests), std::move(writer));
}

}  // namespace tandem
