#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/plan_options.h"
#include "app/text_input.h"
#include "base/units.h"
#include "machine/machine_json.h"
#include "plan/backtest.h"
#include "plan/emit.h"
#include "plan/plan_report.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

struct PlanOptions {
  ModelChoice model;
  MachineChoice machine;
  std::string split = "auto";
  std::optional<std::int32_t> group_size;
  std::optional<std::int32_t> num_stages;
  std::vector<double> shares;
  std::optional<std::int64_t> context_tokens;
  std::int32_t parallel = 1;
  std::int32_t micro_batch_tokens = 512;
  std::string kv_type = "f16";
  std::int64_t prompt = 512;
  std::int64_t generate = 128;
  std::string engine = "tandem";
  std::string objective = "latency";
  std::string emit;
  std::string output;
  std::string html;
  bool split_by_expert = false;
  bool offload = false;
  bool json = false;
};

Result<SearchRequest> search_request_of(const PlanOptions& options) {
  SearchRequest request;
  TANDEM_TRY(request.plan.split, split_named(options.split));
  request.plan.group_size = options.group_size;
  request.plan.num_stages = options.num_stages;
  request.plan.shares = options.shares;
  request.plan.context_tokens = options.context_tokens;
  request.plan.max_sequences = options.parallel;
  request.plan.max_batch_tokens = options.micro_batch_tokens;
  request.plan.split_by_expert = options.split_by_expert;
  const auto type = element_type_from_name(options.kv_type);
  if (type != ElementType::kF16 && type != ElementType::kF32 && type != ElementType::kQ8_0) {
    return invalid_argument("unknown KV cache type", "f16, f32 or q8_0", options.kv_type);
  }
  request.plan.kv_type = *type;
  const auto objective = objective_named(options.objective);
  if (!objective) {
    return invalid_argument("unknown --for", "latency, throughput, context or cost",
                            options.objective);
  }
  request.objective = *objective;
  request.allow_offload = options.offload;
  request.workload = {options.prompt, options.generate, options.parallel, 0};
  if (options.context_tokens && *options.context_tokens < 0) {
    return invalid_argument("-c must not be negative");
  }
  return request;
}

// With -ts there is nothing left to search.
Result<std::vector<Plan>> plans_by_hand(const ModelSpec& spec, const Machine& machine,
                                        const EngineProfile& engine, const SearchRequest& request) {
  std::vector<MachineDevice> devices = machine.devices;
  const bool has_gpu = std::any_of(devices.begin(), devices.end(), [](const MachineDevice& device) {
    return device.kind == MachineDeviceKind::kGpu;
  });
  if (has_gpu) {
    std::erase_if(devices, [](const MachineDevice& device) {
      return device.kind == MachineDeviceKind::kCpu;
    });
  }
  TANDEM_TRY(Plan plan, choose_plan(spec, devices, request.plan));
  TANDEM_TRY(const Bench bench, bench_of(machine, engine));
  TANDEM_TRY_STATUS(predict(plan, ModelCosts(spec, request.plan.kv_type), bench, request.workload));
  return std::vector<Plan>{std::move(plan)};
}

Json model_json(const ChosenModel& model) {
  const ModelSpec& spec = model.spec;
  return {{"name", spec.name},
          {"title", model.title},
          {"architecture", model.runnable ? Json(name_of(spec.architecture)) : Json("plan only")},
          {"file_type", spec.file_type},
          {"num_layers", spec.num_layers},
          {"num_parameters", spec.num_parameters()},
          {"weight_bytes", spec.weight_bytes()},
          {"context_tokens", spec.context_tokens},
          {"source", model.source}};
}

Json report_json(const PlanReport& report, const ChosenModel& model, const Machine& machine) {
  Json plans = Json::array();
  for (const Plan& plan : report.plans) plans.push_back(to_json(plan));
  Json help = Json::array();
  for (const Advice& advice : report.help) {
    help.push_back({{"what", advice.what},
                    {"gain", advice.gain},
                    {"decode_tokens_per_s", advice.decode_tokens_per_s},
                    {"prefill_tokens_per_s", advice.prefill_tokens_per_s}});
  }
  const bool fits = !report.plans.empty() && report.plans.front().fits;
  return {{"model", model_json(model)},
          {"machine", machine_to_json(machine)},
          {"engine", report.engine},
          {"recommended", fits ? Json(report.plans.front().name) : Json(nullptr)},
          {"plans", std::move(plans)},
          {"what_would_help", std::move(help)},
          {"what_would_fit", report.would_fit},
          {"offload", report.offload ? to_json(*report.offload) : Json(nullptr)},
          {"assumptions", report.assumptions},
          {"sources", report.sources}};
}

std::vector<std::string> assumptions_of(const Machine& machine, const EngineProfile& engine) {
  std::vector<std::string> out;
  const auto bench = bench_of(machine, engine);
  const bool unmeasured = bench.ok() && std::any_of(bench->devices.begin(), bench->devices.end(),
                                                    [](const DeviceRates& rates) {
                                                      return !rates.backend->is_measured;
                                                    });
  if (unmeasured) {
    out.push_back("engine " + engine.name +
                  " on GPUs: constants are predicted, unmeasured; nothing was run on such a card");
  }
  for (std::size_t i = 0; bench.ok() && i < bench->devices.size(); ++i) {
    if (bench->devices[i].assumed) {
      out.push_back(bench->ids[i] + ": bandwidth and rates are estimates, nothing was measured");
    }
  }
  return out;
}

Result<PlanReport> make_report(const ChosenModel& model, const Machine& machine,
                               const EngineProfile& engine, const SearchRequest& request) {
  PlanReport report;
  report.model = fmt::format("{}{}{}, {}", model.title, model.spec.file_type.empty() ? "" : ", ",
                             model.spec.file_type, format_bytes(model.spec.weight_bytes()));
  report.machine = describe_machine(machine);
  report.device_names = device_names(machine);
  report.engine = engine.name;
  report.workload = request.workload;
  if (!request.plan.shares.empty()) {
    TANDEM_TRY(report.plans, plans_by_hand(model.spec, machine, engine, request));
  } else {
    TANDEM_TRY(SearchResult result, search_plans(model.spec, machine, engine, request));
    report.plans = std::move(result.plans);
  }
  const bool fits = !report.plans.empty() && report.plans.front().fits;
  if (fits) {
    report.help = what_would_help(model.spec, machine, engine, request, report.plans.front(),
                                  model.alternatives);
  } else {
    report.offload = offload_plan(model.spec, machine, engine, request);
    report.would_fit = what_would_fit(model.spec, machine, engine, request, model.alternatives);
  }
  report.assumptions = assumptions_of(machine, engine);
  return report;
}

// Exit code 4 with what is missing and what would make it fit.
Status refuse_misfit(const PlanReport& report) {
  if (!report.plans.empty() && report.plans.front().fits) return {};
  std::string what = report.plans.empty() ? "no plan" : report.plans.front().why_not;
  what += report.would_fit.empty()
              ? "; no smaller context, cache or quantisation would make it fit: use more devices"
              : fmt::format("; would fit: {}", fmt::join(report.would_fit, ", or "));
  return Error{ErrorCode::kDoesNotFit, what, "plan", {}, {}};
}

Status plan_command(const PlanOptions& options) {
  TANDEM_TRY(const SearchRequest request, search_request_of(options));
  if (!options.emit.empty()) TANDEM_TRY_STATUS(check_program(options.emit));
  TANDEM_TRY(const EngineProfile* engine, find_engine(options.engine));
  TANDEM_TRY(const ChosenModel model, choose_model(options.model));
  TANDEM_TRY(const ChosenMachine chosen, choose_machine(options.machine));
  const Machine& machine = chosen.machine;
  if (engine->name == "tandem" && chosen.calibrated) engine = &*chosen.calibrated;
  TANDEM_TRY(PlanReport report, make_report(model, machine, *engine, request));
  report.objective = options.objective;
  report.sources = chosen.notes;
  std::string emitted;
  const bool fits = !report.plans.empty() && report.plans.front().fits;
  if (!options.emit.empty() && fits) {
    const std::string path =
        options.model.path.empty() ? options.model.name + ".gguf" : options.model.path;
    TANDEM_TRY(emitted, emit_command(report.plans.front(), options.emit, path));
  }
  if (options.json) {
    Json json = report_json(report, model, machine);
    if (!emitted.empty()) json["command"] = emitted;
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  } else if (!emitted.empty()) {
    fmt::print("{}\n", emitted);
  } else {
    fmt::print("{}", plan_report_text(report));
  }
  if (!options.html.empty()) {
    TANDEM_TRY_STATUS(write_text_file(options.html, plan_report_html(report)));
  }
  TANDEM_TRY_STATUS(refuse_misfit(report));
  if (!options.output.empty()) {
    TANDEM_TRY_STATUS(
        write_text_file(options.output, to_json(report.plans.front()).dump(2) + "\n"));
  }
  return {};
}

Status backtest_command(const std::string& path, bool json) {
  TANDEM_TRY(const std::string text, read_text_file(path));
  TANDEM_TRY(const Backtest backtest, run_backtest(text));
  if (json) {
    fmt::print("{}\n", backtest_json(backtest).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", backtest_text(backtest));
  }
  return {};
}

void add_backtest(CLI::App& command, CommandOutcome& outcome) {
  struct Options {
    std::string path;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* backtest =
      command.add_subcommand("backtest", "Predict a table of published measurements");
  backtest->add_option("file", options->path, "CSV, as docs/planning.md describes it")->required();
  backtest->add_flag("--json", options->json, "One JSON document");
  backtest->callback([options, &outcome] {
    finish_command(outcome, [&] { return backtest_command(options->path, options->json); });
  });
}

}  // namespace

void add_plan_command(CLI::App& app, CommandOutcome& outcome) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command =
      app.add_subcommand("plan", "Say what fits, how to split it and how fast it will be");
  command->add_option("-m", options->model.path, "GGUF file");
  command->add_option("--model", options->model.name, "A known model: llama-3-70b");
  command->add_option("--quant", options->model.quant, "Its quantisation: q4_k_m");
  command->add_option("--gpu", options->machine.gpus, "\"2x RTX 3090\"; may be given often")
      ->allow_extra_args(false);
  command->add_option("--link", options->machine.link, "Between all GPUs: pcie4x16, nvlink3, ...");
  command->add_option("--machine", options->machine.path, "A machine as JSON");
  command->add_option("--devices,--device", options->machine.devices, "Of this computer");
  command->add_option("-c,--ctx-size", options->context_tokens,
                      "Context of one sequence; 0: the model's");
  command->add_option("--parallel", options->parallel, "Sequences at once")
      ->check(CLI::Range(1, 4096));
  command->add_option("--ubatch-size", options->micro_batch_tokens, "Most tokens in one step")
      ->check(CLI::Range(1, 1 << 16));
  command->add_option("--cache-type-k,--cache-type-v", options->kv_type, "f16, f32 or q8_0");
  command->add_option("--prompt", options->prompt, "Prompt tokens of the workload")
      ->check(CLI::Range(0, 1 << 24));
  command->add_option("--gen", options->generate, "Generated tokens of the workload")
      ->check(CLI::Range(1, 1 << 24));
  command->add_option("--split,--split-mode", options->split, "auto|none|layer|tensor|hybrid");
  command->add_option("--tp", options->group_size, "Devices that share a stage")
      ->check(CLI::Range(1, 1024));
  command->add_option("--pp", options->num_stages, "Pipeline stages")->check(CLI::Range(1, 1024));
  command->add_option("--tensor-split", options->shares, "Shares by hand: 3,1")->delimiter(',');
  command->add_flag("--split-experts", options->split_by_expert, "Whole experts a device");
  command->add_flag("--offload", options->offload,
                    "Layers that the GPUs do not hold go to the host's processor");
  command->add_option("--engine", options->engine, "Predict for tandem, llama.cpp, vllm");
  command->add_option("--for", options->objective,
                      "What is best: latency|throughput|context|cost (energy a token)");
  command->add_option("--emit", options->emit, "Print the command: llama-server, vllm, tandem");
  command->add_option("-o,--output", options->output, "Write the recommended plan here");
  command->add_option("--html", options->html, "Write a page here");
  command->add_flag("--json", options->json, "One JSON document");
  command->require_subcommand(0, 1);
  add_backtest(*command, outcome);
  command->callback([command, options, &outcome] {
    if (!command->get_subcommands().empty()) return;
    finish_command(outcome, [&] { return plan_command(*options); });
  });
}

}  // namespace tandem
