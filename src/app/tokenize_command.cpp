#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/session.h"
#include "app/text_input.h"

namespace tandem {
namespace {

struct TokenizeOptions {
  std::string model_path;
  std::string text_path;
  std::string text;
  bool parse_special = false;
  bool no_bos = false;
  bool json = false;
};

// JSON strings are UTF-8; a piece may be part of a character.
std::string dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Status tokenize(const TokenizeOptions& options) {
  std::string text = options.text;
  if (!options.text_path.empty()) {
    TANDEM_TRY(text, read_text_file(options.text_path));
  }
  TANDEM_TRY(const auto file, open_model_file(options.model_path));
  TANDEM_TRY(const auto tokenizer, Tokenizer::create(*file));
  const EncodeOptions encode{.add_special = !options.no_bos,
                             .parse_special = options.parse_special};
  const auto tokens = tokenizer->encode(text, encode);
  if (options.json) {
    std::vector<std::string> pieces;
    for (const std::int32_t token : tokens) pieces.push_back(tokenizer->piece(token, true));
    fmt::print("{}\n", dump({{"tokens", tokens}, {"pieces", pieces}}));
    return {};
  }
  for (const std::int32_t token : tokens) {
    fmt::print("{:>7}  {}\n", token, dump(tokenizer->piece(token, true)));
  }
  return {};
}

struct DetokenizeOptions {
  std::string model_path;
  std::string tokens;
  bool json = false;
};

Status detokenize(const DetokenizeOptions& options) {
  TANDEM_TRY(const auto file, open_model_file(options.model_path));
  TANDEM_TRY(const auto tokenizer, Tokenizer::create(*file));
  TANDEM_TRY(const auto tokens, parse_token_list(options.tokens, tokenizer->vocabulary().size()));
  const std::string text = tokenizer->decode(tokens);
  if (options.json) {
    fmt::print("{}\n", dump({{"text", text}}));
  } else {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fputc('\n', stdout);
  }
  return {};
}

}  // namespace

void add_tokenize_commands(CLI::App& app, CommandOutcome& outcome) {
  auto tokenize_options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids");
  command->add_option("-m,--model", tokenize_options->model_path, "GGUF file");
  auto* file = command->add_option("-f,--file", tokenize_options->text_path, "Text file, or -");
  command->add_option("text", tokenize_options->text, "The text")->excludes(file);
  command->add_flag("--parse-special", tokenize_options->parse_special,
                    "Text that spells a special token becomes it");
  command->add_flag("--no-bos", tokenize_options->no_bos, "Add no special tokens");
  command->add_flag("--json", tokenize_options->json, "One JSON document");
  command->callback([tokenize_options, &outcome] {
    finish_command(outcome, [&] { return tokenize(*tokenize_options); });
  });

  auto detokenize_options = std::make_shared<DetokenizeOptions>();
  CLI::App* reverse = app.add_subcommand("detokenize", "Token ids to text");
  reverse->add_option("-m,--model", detokenize_options->model_path, "GGUF file");
  reverse->add_option("--tokens", detokenize_options->tokens, "Ids: 1,2,3")->required();
  reverse->add_flag("--json", detokenize_options->json, "One JSON document");
  reverse->callback([detokenize_options, &outcome] {
    finish_command(outcome, [&] { return detokenize(*detokenize_options); });
  });
}

}  // namespace tandem
