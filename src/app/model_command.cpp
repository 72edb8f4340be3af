#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "app/command.h"
#include "app/progress.h"
#include "app/session.h"
#include "base/units.h"
#include "model/inspect.h"
#include "model/known_shapes.h"
#include "model/synth.h"

namespace tandem {
namespace {

struct InspectOptions {
  std::string path;
  bool with_tensors = false;
  bool json = false;
};

Status inspect(const InspectOptions& options) {
  TANDEM_TRY(const auto file, open_model_file(options.path));
  if (options.json)
    fmt::print("{}\n", inspect_to_json(*file).dump());
  else
    fmt::print("{}", inspect_to_text(*file, options.with_tensors));
  return {};
}

struct SynthFlags {
  std::string shape;
  std::string quant;
  std::string output;
  std::string tokenizer_from;
  std::uint64_t seed = 0;
  bool pure = false;
  bool json = false;
};

Result<SynthOptions> synth_options_of(const SynthFlags& flags) {
  SynthOptions options;
  TANDEM_TRY(options.shape, shape_from_argument(flags.shape));
  const auto type = file_type_from_name(flags.quant);
  if (!type)
    return invalid_argument("--quant: no known quantisation", "one of " + supported_file_types(),
                            flags.quant);
  options.type = *type;
  options.pure = flags.pure;
  options.seed = flags.seed;
  if (!flags.tokenizer_from.empty()) options.tokenizer_from = flags.tokenizer_from;
  return options;
}

Status synth(const SynthFlags& flags) {
  TANDEM_TRY(SynthOptions options, synth_options_of(flags));
  SynthReport report;
  {
    ProgressBar bar("writing " + flags.output);
    options.progress = [&bar](std::int64_t done, std::int64_t total) { bar.update(done, total); };
    TANDEM_TRY(report, synthesise_model(options, flags.output));
  }
  const nlohmann::json summary = {{"file", flags.output},
                                  {"file_bytes", report.file_bytes},
                                  {"shape", report.spec.name},
                                  {"quant", report.spec.file_type},
                                  {"parameters", report.spec.num_parameters()},
                                  {"seed", flags.seed}};
  if (flags.json) {
    fmt::print("{}\n", summary.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return {};
  }
  fmt::print("wrote {}: {} in {}, {}, random weights of seed {}\n", flags.output, report.spec.name,
             report.spec.file_type, format_bytes(report.file_bytes), flags.seed);
  return {};
}

Status list_shapes(bool json) {
  nlohmann::json list = nlohmann::json::array();
  for (const KnownShape& shape : known_shapes()) {
    ModelSpec spec = shape.spec;
    assign_tensors(spec, FileType::kQ4_K_M);
    list.push_back({{"name", spec.name},
                    {"title", shape.title},
                    {"aliases", shape.aliases},
                    {"architecture", name_of(spec.architecture)},
                    {"parameters", spec.num_parameters()},
                    {"q4_k_m_bytes", spec.weight_bytes()},
                    {"source", shape.source}});
  }
  if (json) {
    fmt::print("{}\n", list.dump());
    return {};
  }
  fmt::print("{:<18} {:<22} {:<10} {:>10} {:>12}\n", "name", "model", "arch", "weights",
             "as Q4_K_M");
  for (const nlohmann::json& each : list)
    fmt::print("{:<18} {:<22} {:<10} {:>8.2f} B {:>12}\n", each["name"].get<std::string>(),
               each["title"].get<std::string>(), each["architecture"].get<std::string>(),
               each["parameters"].get<double>() / 1e9,
               format_bytes(each["q4_k_m_bytes"].get<std::int64_t>()));
  return {};
}

void add_inspect(CLI::App& model, CommandOutcome& outcome) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = model.add_subcommand("inspect", "What a GGUF file holds");
  command->add_option("file", options->path, "GGUF file (default: the embedded model)");
  command->add_flag("--tensors", options->with_tensors, "List the tensors too");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback(
      [options, &outcome] { finish_command(outcome, [&] { return inspect(*options); }); });
}

void add_synth(CLI::App& model, CommandOutcome& outcome) {
  auto flags = std::make_shared<SynthFlags>();
  CLI::App* command =
      model.add_subcommand("synth", "Write a GGUF file with random weights of a known shape");
  command
      ->add_option("--shape", flags->shape,
                   "A name (tandem model shapes), a JSON object, or a file that holds one")
      ->required();
  command->add_option("--quant", flags->quant, "Quantisation: q4_k_m, q8_0, f16, ...")->required();
  command->add_flag("--pure", flags->pure, "All matrices of the same type");
  command->add_option("--seed", flags->seed, "The same seed gives the same file");
  command->add_option("--tokenizer-from", flags->tokenizer_from,
                      "GGUF file whose tokenizer is copied (default: a synthetic one)");
  command->add_option("-o,--output", flags->output, "GGUF file to write")->required();
  command->add_flag("--json", flags->json, "One JSON document");
  command->callback([flags, &outcome] { finish_command(outcome, [&] { return synth(*flags); }); });
}

void add_shapes(CLI::App& model, CommandOutcome& outcome) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = model.add_subcommand("shapes", "The models whose shapes are known");
  command->add_flag("--json", *json, "One JSON document");
  command->callback(
      [json, &outcome] { finish_command(outcome, [&] { return list_shapes(*json); }); });
}

}  // namespace

void add_model_command(CLI::App& app, CommandOutcome& outcome) {
  CLI::App* model = app.add_subcommand("model", "Look at a model file, or make one");
  model->require_subcommand(1);
  add_inspect(*model, outcome);
  add_synth(*model, outcome);
  add_shapes(*model, outcome);
}

}  // namespace tandem
