#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/default_model.h"
#include "app/plan_options.h"
#include "fleet/placement.h"
#include "gguf/gguf_file.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

struct FleetOptions {
  std::string path;
  std::string machine_path;  // plan for a machine as JSON instead of this computer
  bool check = false;
  bool plan_only = false;
  bool json = false;
};

// What a model is, for planning. nullopt: an external worker's file that is not GGUF, which is
// placed by its `memory`.
Result<std::optional<ModelSpec>> spec_of(const ModelConfig& model) {
  if (!model.worker.empty() && model.file.empty()) return std::optional<ModelSpec>();
  const auto file = model.builtin
                        ? GgufFile::parse(default_model_image(), std::string(kDefaultModelName))
                        : GgufFile::open(model.file);
  const bool is_by_memory = !model.worker.empty() && model.placement.memory_bytes.has_value();
  if (!file.ok() && is_by_memory) return std::optional<ModelSpec>();
  if (!file.ok()) return file.error();
  auto spec = model_spec_from_gguf(**file);
  if (!spec.ok() && is_by_memory) return std::optional<ModelSpec>();
  if (!spec.ok()) return spec.error();
  return std::optional<ModelSpec>(*std::move(spec));
}

Result<FleetPlacement> place(const FleetConfig& config, const Machine& machine,
                             const std::string& path) {
  std::vector<std::optional<ModelSpec>> specs;
  for (const ModelConfig& model : config.models) {
    auto spec = spec_of(model);
    if (!spec.ok()) {
      return spec.error().at(
          fmt::format("{}:{}: [[model]] {}: `file`", path, model.line.number, model.name));
    }
    specs.push_back(*std::move(spec));
  }
  auto placement = place_fleet(config, machine, specs);
  if (!placement.ok()) return placement.error().at(path);
  return placement;
}

Json errors_json(const std::vector<Error>& errors) {
  Json out = Json::array();
  for (const Error& error : errors) out.push_back(error.to_string());
  return out;
}

void print(const Json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

// The models without room, exit code 4.
Status refuse_misfit(const FleetPlacement& placement, const std::string& path) {
  if (placement.fits()) return {};
  std::vector<std::string> names;
  for (const ModelPlacement& model : placement.models) {
    if (model.num_missing > 0) names.push_back(model.name);
  }
  return Error{ErrorCode::kDoesNotFit,
               fmt::format("no room for {}; --plan-only shows the memory and what would fit",
                           fmt::join(names, ", ")),
               path,
               {},
               {}};
}

void report_check(const FleetConfig& config, const FleetPlacement& placement, bool json) {
  if (json) {
    print({{"ok", placement.fits()},
           {"errors", Json::array()},
           {"models", config.served_names()},
           {"fits", placement.fits()}});
    return;
  }
  for (const ModelPlacement& model : placement.models) {
    if (model.num_missing > 0) fmt::print("{}: {}\n", model.name, model.why_not);
  }
  if (!placement.fits()) return;
  fmt::print("{} model{}, {} upstream{}, {} key{}: the file is right and everything fits\n",
             config.models.size(), config.models.size() == 1 ? "" : "s", config.upstreams.size(),
             config.upstreams.size() == 1 ? "" : "s", config.keys.size(),
             config.keys.size() == 1 ? "" : "s");
}

Status fleet_command(const FleetOptions& options) {
  if (!options.check && !options.plan_only) {
    return invalid_argument("say what to do with the file", "--check or --plan-only");
  }
  const FleetConfigOutcome outcome = load_fleet_config(options.path);
  if (!outcome.errors.empty()) {
    if (options.json) print({{"ok", false}, {"errors", errors_json(outcome.errors)}});
    // All but the last here; the command reports that one as its error.
    for (std::size_t i = 0; i + 1 < outcome.errors.size(); ++i) {
      fmt::print(stderr, "error: {}\n", outcome.errors[i].to_string());
    }
    return outcome.errors.back();
  }
  TANDEM_TRY(const Machine machine, choose_machine({{}, {}, options.machine_path, {}}));
  TANDEM_TRY(const FleetPlacement placement, place(outcome.config, machine, options.path));
  if (!options.plan_only) {
    report_check(outcome.config, placement, options.json);
  } else if (options.json) {
    print(to_json(placement));
  } else {
    fmt::print("{}", placement_text(placement));
  }
  return refuse_misfit(placement, options.path);
}

}  // namespace

void add_fleet_command(CLI::App& app, CommandOutcome& outcome) {
  auto options = std::make_shared<FleetOptions>();
  CLI::App* command = app.add_subcommand("fleet", "Many models behind one port, from a TOML file");
  command->add_option("file", options->path, "fleet.toml (docs/fleet.md)")->required();
  command->add_flag("--check", options->check,
                    "Check the file and that everything fits; run nothing");
  command->add_flag("--plan-only", options->plan_only,
                    "Show which devices each model gets and what memory it takes; run nothing");
  command->add_option("--machine", options->machine_path,
                      "With --check or --plan-only: a machine as JSON instead of this computer");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback(
      [options, &outcome] { finish_command(outcome, [&] { return fleet_command(*options); }); });
}

}  // namespace tandem
