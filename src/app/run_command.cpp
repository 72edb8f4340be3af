#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/chat.h"
#include "app/command.h"
#include "app/generate.h"
#include "app/sampling_options.h"
#include "app/text_input.h"

namespace tandem {
namespace {

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string prompt;
  std::string prompt_path;
  std::string system_prompt;
  bool has_prompt = false;
  bool parse_special = false;
  bool no_display_prompt = false;
  bool json = false;
};

double seconds(std::int64_t microseconds) {
  return static_cast<double>(microseconds) * 1e-6;
}

double rate(std::int32_t count, double in_seconds) {
  return in_seconds > 0 ? count / in_seconds : 0.0;
}

nlohmann::json timings_json(const LoadedModel& model, const FinishEvent& finish) {
  const double prefill_s = seconds(finish.timings.prefill_us);
  const double decode_s = seconds(finish.timings.decode_us);
  // The first token comes with the prefill: decode begins behind it.
  return {{"load_s", model.load_s},
          {"prefill_s", prefill_s},
          {"decode_s", decode_s},
          {"prefill_tokens_per_s", rate(finish.usage.prompt_tokens, prefill_s)},
          {"decode_tokens_per_s", rate(finish.usage.completion_tokens - 1, decode_s)}};
}

nlohmann::json memory_json(const LoadedModel& model) {
  nlohmann::json memory = nlohmann::json::object();
  for (const RankMemory& rank : model.memory) {
    memory[rank.device] = {{"weights_bytes", rank.weights_bytes},
                           {"kv_bytes", rank.kv_bytes},
                           {"compute_bytes", rank.compute_bytes}};
  }
  return memory;
}

void print_json(const LoadedModel& model, const Answered& answered) {
  const nlohmann::json json = {{"text", answered.text},
                               {"tokens", answered.tokens},
                               {"prompt_tokens", answered.finish.usage.prompt_tokens},
                               {"finish_reason", name_of(answered.finish.reason)},
                               {"plan", to_json(model.plan)},
                               {"timings", timings_json(model, answered.finish)},
                               {"memory", memory_json(model)}};
  fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_summary(const LoadedModel& model, const Answered& answered) {
  const auto timings = timings_json(model, answered.finish);
  fmt::print(stderr,
             "{}: loaded in {:.2f} s; prompt {} tokens, {:.1f} tokens/s; answer {} tokens, "
             "{:.1f} tokens/s\n",
             model.plan.name, model.load_s, answered.finish.usage.prompt_tokens,
             timings["prefill_tokens_per_s"].get<double>(), answered.finish.usage.completion_tokens,
             timings["decode_tokens_per_s"].get<double>());
}

Status run_once(LoadedModel& model, const RunOptions& options, const std::string& prompt) {
  GenerationRequest request;
  request.prompt = model.tokenizer->encode(
      prompt, {.add_special = true, .parse_special = options.parse_special});
  if (request.prompt.empty()) return invalid_argument("the prompt has no tokens");
  const std::int32_t vocabulary_size = model.tokenizer->vocabulary().size();
  TANDEM_TRY(request.sampling, sampling_params_of(options.sampling, vocabulary_size));
  request.max_tokens = options.sampling.max_tokens;
  request.stop = options.sampling.stop;
  request.ignore_eos = options.sampling.ignore_eos;
  const bool to_stdout = !options.json;
  if (to_stdout && !options.no_display_prompt) fmt::print("{}", prompt);
  TANDEM_TRY(const Answered answered,
             answer(*model.engine, std::move(request), [&](const std::string& piece) {
               if (!to_stdout) return;
               fmt::print("{}", piece);
               std::fflush(stdout);
             }));
  if (options.json) {
    print_json(model, answered);
    return {};
  }
  fmt::print("\n");
  std::fflush(stdout);
  print_summary(model, answered);
  return {};
}

Status run(const RunOptions& options) {
  std::string prompt = options.prompt;
  const bool one_shot = options.has_prompt || !options.prompt_path.empty();
  if (!options.prompt_path.empty()) {
    TANDEM_TRY(prompt, read_text_file(options.prompt_path));
  }
  if (!one_shot && options.json) {
    return invalid_argument("--json needs a prompt", "-p TEXT or -f FILE");
  }
  TANDEM_TRY(LoadedModel model, load_model(options.model));
  if (one_shot) return run_once(model, options, prompt);
  return run_chat(model, options.sampling, options.system_prompt);
}

}  // namespace

void add_run_command(CLI::App& app, CommandOutcome& outcome) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command =
      app.add_subcommand("run", "Generate from a prompt; without one, chat in the terminal");
  add_model_options(*command, options->model);
  add_sampling_options(*command, options->sampling);
  auto* prompt = command->add_option("-p,--prompt", options->prompt, "The prompt");
  command->add_option("-f,--file", options->prompt_path, "Prompt file; - for standard input")
      ->excludes(prompt);
  command->add_option("--system-prompt", options->system_prompt, "System message of a chat");
  command->add_flag("--parse-special", options->parse_special,
                    "Text that spells a special token becomes it");
  command->add_flag("--no-display-prompt", options->no_display_prompt, "Print the answer alone");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([options, prompt, &outcome] {
    options->has_prompt = prompt->count() > 0;
    finish_command(outcome, [&] { return run(*options); });
  });
}

}  // namespace tandem
