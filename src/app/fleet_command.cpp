#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/default_model.h"
#include "app/plan_options.h"
#include "fleet/fleet.h"
#include "fleet/placement.h"
#include "gguf/gguf_file.h"
#include "machine/local_machine.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

struct FleetOptions {
  std::string path;
  std::string machine_path;  // plan for a machine as JSON instead of this computer
  std::string reload_path;
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
  if (placement.ok()) return placement;
  Error error = placement.error();
  error.where = path + ":" + error.where;  // which begins with a line of the file
  return error;
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

// What the running part needs of a placement.
FleetLayout layout_of(const FleetPlacement& placement) {
  FleetLayout layout;
  for (const MemoryPool& pool : placement.pools) {
    layout.pool_bytes.push_back(pool.usable_bytes());
    layout.devices.push_back({pool.name, pool.title, pool.total_bytes, 0});
  }
  for (const ModelPlacement& model : placement.models) {
    PlacedModel& placed = layout.models[model.name];
    placed.needs = model.needs();
    for (const ReplicaPlacement& replica : model.replicas) {
      PlacedReplica& out = placed.replicas.emplace_back();
      out.plan = replica.plan;
      out.cores = replica.cores;
      for (const DeviceUse& use : replica.shares) {
        out.devices.push_back(use.device);
        out.shares.push_back({use.device, use.total_bytes()});
      }
      if (replica.plan) placed.context_tokens = replica.plan->context_tokens;
    }
  }
  return layout;
}

// Described, not measured: measuring the processor, as `plan` does, would disturb running models at
// a reload and place them elsewhere each time.
Result<Machine> machine_for(const std::string& path) {
  if (path.empty()) return detect_local_machine();
  TANDEM_TRY(ChosenMachine chosen, choose_machine({{}, {}, path, {}}));
  return std::move(chosen.machine);
}

// The file read and placed on this computer, at start and at each reload.
Result<std::pair<FleetConfig, FleetLayout>> read_fleet(const std::string& path) {
  FleetConfigOutcome outcome = load_fleet_config(path);
  if (!outcome.errors.empty()) return first_of(outcome.errors);
  TANDEM_TRY(const Machine machine, detect_local_machine());
  TANDEM_TRY(const FleetPlacement placement, place(outcome.config, machine, path));
  TANDEM_TRY_STATUS(refuse_misfit(placement, path));
  return std::pair{std::move(outcome.config), layout_of(placement)};
}

Status run(const FleetOptions& options, const FleetConfig& config) {
  FleetRunOptions running;
  running.config_path = options.path;
  running.on_listening = [address = config.listen.addresses.front(),
                          is_tls = !config.listen.certificate_file.empty()](std::uint16_t port) {
    fmt::print(stderr, "fleet on {}://{}\n", is_tls ? "https" : "http",
               ListenAddress{address.host, port}.to_string());
  };
  return run_fleet(running, [path = options.path] { return read_fleet(path); });
}

Status fleet_command(const FleetOptions& options) {
  if (options.path.empty()) return invalid_argument("no file: tandem fleet fleet.toml");
  const bool only_looks = options.check || options.plan_only;
  if (!only_looks && (options.json || !options.machine_path.empty())) {
    return invalid_argument("--json and --machine go with --check or --plan-only");
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
  if (!only_looks) return run(options, outcome.config);
  TANDEM_TRY(const Machine machine, machine_for(options.machine_path));
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
  command->add_option("file", options->path, "fleet.toml (docs/fleet.md)");
  command->add_flag("--check", options->check,
                    "Check the file and that everything fits; run nothing");
  command->add_flag("--plan-only", options->plan_only,
                    "Show which devices each model gets and what memory it takes; run nothing");
  command->add_option("--machine", options->machine_path,
                      "With --check or --plan-only: a machine as JSON instead of this computer");
  command->add_flag("--json", options->json, "One JSON document");
  command->require_subcommand(0, 1);
  CLI::App* reload =
      command->add_subcommand("reload", "Have the running fleet of this file read it again");
  reload->add_option("file", options->reload_path, "fleet.toml")->required();
  reload->callback([options, &outcome] {
    finish_command(outcome, [&] { return signal_reload(options->reload_path); });
  });
  command->callback([command, options, &outcome] {
    if (!command->get_subcommands().empty()) return;
    finish_command(outcome, [&] { return fleet_command(*options); });
  });
}

}  // namespace tandem
