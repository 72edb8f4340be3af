#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/bench/bench_session.h"
#include "app/bench/calibration.h"
#include "app/command.h"
#include "app/session.h"
#include "plan/calibration.h"

namespace tandem {
namespace {

struct BenchCommand {
  BenchOptions options;
  std::string report_path;
  std::string calibration_path;  // empty: the user's, which `plan` reads
  std::vector<std::string> calibrate_types;
  bool json = false;
};

Status write_file(const std::string& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary);
  stream << text;
  stream.close();
  if (stream.fail()) return Error{ErrorCode::kIo, "cannot be written", path, {}, {}};
  return {};
}

Status write_calibration(const BenchCommand& command, const BenchReport& report) {
  const std::string path =
      command.calibration_path.empty() ? calibration_path() : command.calibration_path;
  if (path.empty()) return invalid_argument("--calibrate needs a file: no home directory is set");
  std::error_code ignored;  // a folder that cannot be made shows when the file is written
  if (const auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) {
    std::filesystem::create_directories(folder, ignored);
  }
  TANDEM_TRY_STATUS(write_file(path, calibration_json(report).dump(1) + "\n"));
  fmt::print(stderr, "calibration written to {}{}\n", path,
             path == calibration_path() ? ": `tandem plan` reads it for this computer" : "");
  return {};
}

Status run(BenchCommand command) {
  for (const std::string& name : command.calibrate_types) {
    const auto type = element_type_from_name(name);
    if (!type)
      return invalid_argument("--calibrate-types: no type of weights", "q4_k, f16, ...", name);
    command.options.calibrate_types.push_back(*type);
  }
  TANDEM_TRY(const BenchReport report, run_bench(command.options));
  if (command.json) {
    fmt::print("{}\n",
               bench_json(report).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{}", bench_text(report));
  }
  if (!command.report_path.empty()) {
    TANDEM_TRY_STATUS(write_file(command.report_path, bench_page(report)));
  }
  if (command.options.calibrate) {
    TANDEM_TRY_STATUS(write_calibration(command, report));
  }
  return {};
}

}  // namespace

void add_bench_command(CLI::App& app, CommandOutcome& outcome) {
  auto command = std::make_shared<BenchCommand>();
  BenchOptions& options = command->options;
  CLI::App* bench = app.add_subcommand(
      "bench", "Measure ceilings and setups of devices; say where the lost speed went");
  add_model_options(*bench, options.model);
  bench->add_option("--plans", options.plans,
                    "auto, or a list: none, tensor, layer, hybrid, 2x2 (group x stages)");
  bench->add_option("--prompt", options.prompt_tokens, "Tokens of the prompt")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  bench->add_option("--gen", options.gen_tokens, "Tokens decoded after it")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  bench->add_option("--concurrency", options.concurrency, "Sequences at once: 1,8,...")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  bench->add_option("--repeat", options.num_repetitions, "Repetitions of every setup")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  bench->add_option("--min-seconds", options.min_seconds, "That a repetition lasts")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  bench->add_option("--ceiling-seconds", options.ceiling_seconds, "For each pattern of a ceiling")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  bench->add_option("--report", command->report_path, "Write a page with tables and plots");
  bench
      ->add_option_function<std::vector<std::string>>(
          "--calibrate",
          [command](const std::vector<std::string>& file) {
            command->options.calibrate = true;
            if (!file.empty()) command->calibration_path = file.front();
          },
          "Write what was measured for `plan`: to ~/.config/tandem/calibration.json, which it "
          "reads "
          "for this computer, or to this file")
      ->expected(0, 1);
  bench
      ->add_option("--calibrate-types", command->calibrate_types,
                   "Types of weights whose kernels are measured for it, instead of all: q4_k,f16")
      ->delimiter(',');
  bench
      ->add_option("--inject-slowdown", options.injected_slowdown,
                   "Fault: slow the ranks of setups with several by these fractions: 0.2,0")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 10.0));
  bench
      ->add_option("--inject-slowdown-from", options.injected_slowdown_from_step,
                   "Fault: the slowdown begins after so many steps, as when a device throttles")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
  bench
      ->add_option("--inject-link-delay-us", options.injected_link_delay_us,
                   "Fault: every message between ranks takes this much longer")
      ->check(CLI::Range(0, 1'000'000));
  bench->add_flag("--json", command->json, "One JSON document");
  bench->callback([command, &outcome] { finish_command(outcome, [&] { return run(*command); }); });
}

}  // namespace tandem
