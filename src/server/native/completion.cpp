#include "server/native/completion.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "server/native/completion_writer.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

void run(const ServedModel& model, std::shared_ptr<HttpExchange> exchange, FieldReader& reader,
         GenerationRequest request) {
  NativeWriter::Options options;
  reader.read("stream", options.stream);
  reader.read("return_tokens", options.return_tokens);
  reader.read("n_probs", request.sampling.num_logprobs, 0, 1000);
  if (request.sampling.num_logprobs == 0) request.sampling.num_logprobs = -1;
  options.with_probabilities = request.sampling.num_logprobs > 0;
  options.num_choices = request.num_choices;
  if (reader.error()) return refuse(*exchange, *reader.error());
  auto writer = std::make_unique<NativeWriter>(model, exchange, options);
  std::vector<GenerationRequest> requests;
  requests.push_back(std::move(request));
  run_generation(model, exchange, std::move(requests), std::move(writer));
}

void append(std::vector<std::int32_t>& tokens, const std::vector<std::int32_t>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

// prefix-token prefix suffix-token suffix middle-token, as most models were trained on it.
std::vector<std::int32_t> infill_prompt(FieldReader& reader, const ServedModel& model) {
  const Vocabulary& vocabulary = model.tokenizer->vocabulary();
  const SpecialTokens& special = vocabulary.special();
  std::string prefix, suffix;
  reader.read("input_prefix", prefix);
  reader.read("input_suffix", suffix);
  if (reader.error()) return {};
  const auto encode = [&](const std::string& text) {
    return model.tokenizer->encode(text, {.add_special = false, .parse_special = false});
  };
  std::vector<std::int32_t> prompt;
  if (vocabulary.adds_bos() && special.bos) prompt.push_back(*special.bos);
  prompt.push_back(*special.fim_prefix);
  append(prompt, encode(prefix));
  prompt.push_back(*special.fim_suffix);
  append(prompt, encode(suffix));
  prompt.push_back(*special.fim_middle);
  return prompt;
}

}  // namespace

void serve_native_completion(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  GenerationRequest request;
  read_generation(reader, model, request);
  const Json* prompt = reader.find("prompt");
  if (prompt == nullptr) {
    reader.fail("prompt", "'prompt' is missing");
  } else if (!reader.error()) {
    request.prompt = read_prompt(reader, "prompt", *prompt, model);
  }
  run(model, std::move(exchange), reader, std::move(request));
}

void serve_infill(const ServedModel& model, std::shared_ptr<HttpExchange> exchange) {
  const SpecialTokens& special = model.tokenizer->vocabulary().special();
  if (!special.fim_prefix || !special.fim_suffix || !special.fim_middle) {
    return refuse(*exchange, not_supported("this model's vocabulary has no infill tokens"));
  }
  const auto body = read_body(*exchange);
  if (!body) return;
  FieldReader reader(*body);
  GenerationRequest request;
  read_generation(reader, model, request);
  if (!reader.error()) request.prompt = infill_prompt(reader, model);
  run(model, std::move(exchange), reader, std::move(request));
}

}  // namespace tandem
