#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string>
#include <vector>

#include "app/arguments.h"
#include "app/command.h"
#include "base/log.h"

#ifndef TANDEM_VERSION
#define TANDEM_VERSION "0.1.0"
#endif

namespace {

// CLI11's own exit codes are many; the contract has one for wrong usage.
constexpr int kWrongUsage = 2;

// Who appends a flag to a script that has it already means the last one, as llama.cpp has it.
void let_the_last_value_count(CLI::Option& option) {
  const bool one_value = !option.get_positional() && option.get_expected_max() == 1;
  if (one_value && option.get_multi_option_policy() == CLI::MultiOptionPolicy::Throw) {
    option.take_last();
  }
}

// The parser cannot hold "-ngl" and its kin (arguments.h); help says them all the same.
void name_the_short_flags(CLI::Option& option) {
  std::string flags;
  for (const std::string& name : option.get_lnames()) {
    const std::string_view flag = tandem::short_flag_of(name);
    if (!flag.empty()) flags += (flags.empty() ? "" : ", ") + std::string(flag);
  }
  if (!flags.empty()) option.description(flags + ": " + option.get_description());
}

// The parser's "Could not convert: --port = -1" does not say what was expected.
std::string plain(const CLI::Error& error) {
  constexpr std::string_view kBegin = "Could not convert: ";
  const std::string_view what = error.what();
  const std::size_t equals = what.find(" = ");
  if (!what.starts_with(kBegin) || equals == what.npos) return std::string(what);
  return std::string(what.substr(kBegin.size(), equals - kBegin.size())) +
         ": not a number, or one that it cannot be (got " + std::string(what.substr(equals + 3)) +
         ")";
}

void for_each_option(CLI::App& app, void (*treat)(CLI::Option&)) {
  for (CLI::Option* option : app.get_options()) treat(*option);
  for (CLI::App* command : app.get_subcommands({})) for_each_option(*command, treat);
}

int run(int argc, char** argv) {
  CLI::App app("Tandem: one large language model over several GPUs, or several models over them");
  app.name("tandem");
  app.set_version_flag("--version", "tandem " TANDEM_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "error: " + plain(error) + "; --help says what there is\n";
  });
  bool verbose = false;
  app.add_flag("-v,--verbose", verbose, "Say more on standard error");
  app.parse_complete_callback(
      [&verbose] { tandem::set_up_logging(verbose ? spdlog::level::debug : spdlog::level::info); });

  tandem::CommandOutcome outcome;
  tandem::add_run_command(app, outcome);
  tandem::add_tour_command(app, outcome);
  tandem::add_eval_command(app, outcome);
  tandem::add_model_command(app, outcome);
  tandem::add_serve_command(app, outcome);
  tandem::add_tokenize_commands(app, outcome);
  tandem::add_doctor_command(app, outcome);
  tandem::add_bench_command(app, outcome);
  tandem::add_plan_command(app, outcome);
  tandem::add_compare_command(app, outcome);
  tandem::add_fleet_command(app, outcome);
  for_each_option(app, let_the_last_value_count);
  for_each_option(app, name_the_short_flags);

  std::vector<std::string> arguments =
      tandem::with_long_flags(std::vector<std::string>(argv + 1, argv + argc));
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongUsage;
  }
  return outcome.exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  // cuda:0 is the first GPU of the bus, as NVML, nvidia-smi and doctor count; by itself the CUDA
  // runtime counts the fastest first. What the user has set stays.
  setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 0);
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    return tandem::report_error({tandem::ErrorCode::kInternal, error.what(), {}, {}, {}});
  }
}
