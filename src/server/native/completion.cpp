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

struct ExtraFile {
  std::string name;
  std::string text;
};

// input_extra: other files of the project. Errors stay with the reader.
std::vector<ExtraFile> read_extra(FieldReader& reader) {
  std::vector<ExtraFile> files;
  const Json* list = reader.find("input_extra");
  if (list == nullptr) return files;
  if (!list->is_array()) reader.fail("input_extra", "'input_extra' must be a list");
  for (const Json& entry : list->is_array() ? *list : Json::array()) {
    ExtraFile file;
    if (entry.is_object()) {
      FieldReader nested(entry);
      nested.read("filename", file.name);
      nested.read("text", file.text);
      if (nested.error()) reader.fail("input_extra", nested.error()->message);
    }
    if (file.text.empty()) {
      reader.fail("input_extra", "'input_extra' must hold objects with 'filename' and 'text'");
    }
    files.push_back(std::move(file));
  }
  return files;
}

// The extra files in the repository form that some models were trained on (llama-server's README),
// or where the vocabulary has no tokens for it, as plain text in front.
template <typename Encode>
void append_extra(const std::vector<ExtraFile>& files, const SpecialTokens& special,
                  const Encode& encode, std::vector<std::int32_t>& prompt) {
  if (files.empty()) return;
  const bool has_form = special.fim_repo && special.fim_separator;
  if (has_form) {
    prompt.push_back(*special.fim_repo);
    append(prompt, encode("myproject\n"));
  }
  for (const ExtraFile& file : files) {
    if (has_form) {
      prompt.push_back(*special.fim_separator);
      append(prompt, encode(file.name + "\n"));
    }
    append(prompt, encode(file.text + "\n"));
  }
  if (!has_form) return;
  prompt.push_back(*special.fim_separator);
  append(prompt, encode("filename\n"));
}

// prefix-token prefix suffix-token suffix middle-token, as most models were trained on it.
std::vector<std::int32_t> infill_prompt(FieldReader& reader, const ServedModel& model) {
  const Vocabulary& vocabulary = model.tokenizer->vocabulary();
  const SpecialTokens& special = vocabulary.special();
  std::string prefix, suffix, begun;
  reader.read("input_prefix", prefix);
  reader.read("input_suffix", suffix);
  reader.read("prompt", begun);  // of the middle
  const std::vector<ExtraFile> extra = read_extra(reader);
  if (reader.error()) return {};
  const auto encode = [&](const std::string& text) {
    return model.tokenizer->encode(text, {.add_special = false, .parse_special = false});
  };
  std::vector<std::int32_t> prompt;
  if (vocabulary.adds_bos() && special.bos) prompt.push_back(*special.bos);
  append_extra(extra, special, encode, prompt);
  prompt.push_back(*special.fim_prefix);
  append(prompt, encode(prefix));
  prompt.push_back(*special.fim_suffix);
  append(prompt, encode(suffix));
  prompt.push_back(*special.fim_middle);
  append(prompt, encode(begun));
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
