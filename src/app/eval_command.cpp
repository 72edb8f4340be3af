#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/npy.h"
#include "app/progress.h"
#include "app/session.h"
#include "app/text_input.h"
#include "runtime/evaluate.h"

namespace tandem {
namespace {

// Rows of logits wanted at once: enough to batch, few enough to stay small beside the weights.
constexpr std::int32_t kOutputRows = 64;

struct LogitsOptions {
  ModelOptions model;
  std::string tokens;
  std::string positions = "all";
  std::string out_path;
};

Status evaluate_logits(LogitsOptions options) {
  TANDEM_TRY(const OpenedModel model, open_model(options.model.model_path));
  TANDEM_TRY(const auto tokens, parse_token_list(options.tokens, model.spec.vocabulary_size));
  const auto num_tokens = static_cast<std::int32_t>(tokens.size());
  TANDEM_TRY(const auto wanted, parse_positions(options.positions, num_tokens));
  if (!options.model.context_tokens) options.model.context_tokens = num_tokens;
  TANDEM_TRY(Plan plan, make_plan(model.spec, options.model, kOutputRows));
  TANDEM_TRY(const auto runtime, start_runtime(model, std::move(plan), options.model));
  std::vector<float> rows;
  TANDEM_TRY_STATUS(evaluate(*runtime, tokens, wanted,
                             [&](std::int32_t, std::span<const float> logits) -> Status {
                               rows.insert(rows.end(), logits.begin(), logits.end());
                               return {};
                             }));
  return write_npy(options.out_path, rows, static_cast<std::int64_t>(wanted.size()),
                   model.spec.vocabulary_size);
}

struct PerplexityOptions {
  ModelOptions model;
  std::string text_path;
  bool json = false;
};

Status evaluate_perplexity(PerplexityOptions options) {
  TANDEM_TRY(const std::string text, read_text_file(options.text_path));
  TANDEM_TRY(const OpenedModel model, open_model(options.model.model_path));
  TANDEM_TRY(const auto tokenizer, Tokenizer::create(*model.file));
  const auto tokens = tokenizer->encode(text, {.add_special = false});
  if (!options.model.context_tokens) {
    options.model.context_tokens = std::min<std::int64_t>(model.spec.context_tokens, 512);
  }
  TANDEM_TRY(Plan plan, make_plan(model.spec, options.model, kOutputRows));
  const auto window = static_cast<std::int32_t>(plan.context_tokens);
  TANDEM_TRY(const auto runtime, start_runtime(model, std::move(plan), options.model));
  const Vocabulary& vocabulary = tokenizer->vocabulary();
  const std::int32_t bos = vocabulary.adds_bos() ? vocabulary.special().bos.value_or(-1) : -1;
  ProgressBar progress("perplexity");
  TANDEM_TRY(
      const Perplexity result,
      measure_perplexity(*runtime, tokens, bos, window, [&](std::int64_t done, std::int64_t total) {
        progress.update(done, total);
      }));
  if (options.json) {
    const nlohmann::json json = {{"perplexity", result.perplexity},
                                 {"nll", result.nll},
                                 {"tokens", result.num_tokens},
                                 {"window", window}};
    fmt::print("{}\n", json.dump());
  } else {
    fmt::print("perplexity {:.4f} (nll {:.6f}) over {} tokens in windows of {}\n",
               result.perplexity, result.nll, result.num_tokens, window);
  }
  return {};
}

}  // namespace

void add_eval_command(CLI::App& app, CommandOutcome& outcome) {
  CLI::App* eval = app.add_subcommand("eval", "Logits and perplexity of a model");
  eval->require_subcommand(1);

  auto logits = std::make_shared<LogitsOptions>();
  CLI::App* logits_command = eval->add_subcommand("logits", "Write logits to a .npy file");
  add_model_options(*logits_command, logits->model);
  logits_command->add_option("--tokens", logits->tokens, "Token ids: 1,2,3")->required();
  logits_command->add_option("--positions", logits->positions, "all, or 0,63");
  logits_command->add_option("--out", logits->out_path, "The .npy file")->required();
  logits_command->callback(
      [logits, &outcome] { finish_command(outcome, [&] { return evaluate_logits(*logits); }); });

  auto perplexity = std::make_shared<PerplexityOptions>();
  CLI::App* perplexity_command = eval->add_subcommand("perplexity", "Perplexity over a text");
  add_model_options(*perplexity_command, perplexity->model);
  perplexity_command->add_option("-f,--file", perplexity->text_path, "Text; - for standard input")
      ->required();
  perplexity_command->add_flag("--json", perplexity->json, "One JSON document");
  perplexity_command->callback([perplexity, &outcome] {
    finish_command(outcome, [&] { return evaluate_perplexity(*perplexity); });
  });
}

}  // namespace tandem
