#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/plan_options.h"
#include "base/units.h"
#include "plan/compare.h"

namespace tandem {
namespace {

struct CompareOptions {
  ModelChoice model;
  CompareRequest request;
  std::vector<std::string> prices;
  std::string engine = "llama.cpp";
  std::string split = "auto";
  std::string html;
  bool json = false;
};

Status compare_command(CompareOptions options) {
  CompareRequest& request = options.request;
  for (const std::string& price : options.prices) {
    TANDEM_TRY_STATUS(add_price(request.prices, price));
  }
  TANDEM_TRY(request.search.plan.split, split_named(options.split));
  TANDEM_TRY(const EngineProfile* engine, find_engine(options.engine));
  TANDEM_TRY(const ChosenModel model, choose_model(options.model));
  TANDEM_TRY(const Comparison comparison, compare(model.spec, *engine, request));
  const std::string title =
      fmt::format("{}{}{}, {}", model.title, model.spec.file_type.empty() ? "" : ", ",
                  model.spec.file_type, format_bytes(model.spec.weight_bytes()));
  if (options.json) {
    nlohmann::json json = comparison_json(comparison);
    json["model"] = title;
    json["engine"] = engine->name;
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{}", comparison_text(comparison, request, title, engine->name));
  }
  if (!options.html.empty()) {
    TANDEM_TRY_STATUS(write_text_file(options.html, comparison_html(comparison, title)));
  }
  for (const ComparedConfiguration& one : comparison.configurations) {
    if (one.plan) return {};
  }
  return Error{ErrorCode::kDoesNotFit,
               comparison.configurations.front().why_not +
                   "; use larger or more cards, or a smaller "
                   "quantisation",
               comparison.configurations.front().name,
               {},
               {}};
}

}  // namespace

void add_compare_command(CLI::App& app, CommandOutcome& outcome) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command = app.add_subcommand("compare", "Which machine should I buy for this model?");
  CompareRequest& request = options->request;
  command->add_option("-m", options->model.path, "GGUF file");
  command->add_option("--model", options->model.name, "A known model: llama-3-70b");
  command->add_option("--quant", options->model.quant, "Its quantisation: q4_k_m");
  command->add_option("machines", request.configurations, "\"1x RTX 4090\" \"2x RTX 3090\" ...")
      ->required();
  command->add_option("--link", request.link, "Between all GPUs: pcie4x16, nvlink3, ...");
  command->add_option("--price", options->prices, "A card's price: \"RTX 3090=750\"")
      ->allow_extra_args(false);
  command->add_option("--electricity", request.electricity_per_kwh, "Dollars a kWh");
  command->add_option("--hours-per-day", request.hours_per_day, "At work");
  command->add_option("--years", request.years, "Until the cards are written off");
  command->add_option("--batch", request.batch, "Sequences at once for the batch column")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("-c,--ctx-size", request.search.plan.context_tokens, "Context of one sequence")
      ->check(CLI::Range(0, 1 << 24));
  command->add_option("--prompt", request.search.workload.prompt_tokens, "Prompt tokens")
      ->check(CLI::Range(0, 1 << 24));
  command->add_option("--gen", request.search.workload.generated_tokens, "Generated tokens")
      ->check(CLI::Range(1, 1 << 24));
  command->add_option("--split,--split-mode", options->split, "auto|none|layer|tensor|hybrid");
  command->add_option("--engine", options->engine, "Predict for tandem, llama.cpp, vllm");
  command->add_option("--html", options->html, "Write a page here");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback(
      [options, &outcome] { finish_command(outcome, [&] { return compare_command(*options); }); });
}

}  // namespace tandem
