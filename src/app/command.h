#pragma once

#include <string>

#include "base/result.h"

namespace CLI {
class App;
}

namespace tandem {

// What a command leaves behind: main returns it.
struct CommandOutcome {
  int exit_code = 0;
};

// Each command lives in a file of its own, adds itself as a subcommand, and on being chosen does
// its work and sets the outcome.
void add_run_command(CLI::App& app, CommandOutcome& outcome);
void add_tour_command(CLI::App& app, CommandOutcome& outcome);
void add_eval_command(CLI::App& app, CommandOutcome& outcome);
void add_model_command(CLI::App& app, CommandOutcome& outcome);
void add_serve_command(CLI::App& app, CommandOutcome& outcome);
void add_tokenize_commands(CLI::App& app, CommandOutcome& outcome);
void add_doctor_command(CLI::App& app, CommandOutcome& outcome);
void add_bench_command(CLI::App& app, CommandOutcome& outcome);
void add_plan_command(CLI::App& app, CommandOutcome& outcome);
void add_compare_command(CLI::App& app, CommandOutcome& outcome);
void add_fleet_command(CLI::App& app, CommandOutcome& outcome);

// Prints "error: ..." to standard error and returns the exit code that the contract has for it.
int report_error(const Error& error);

// Runs `body` (a Status-returning callable) as a command's work.
template <typename Body>
void finish_command(CommandOutcome& outcome, Body&& body) {
  const Status status = body();
  if (!status.ok()) outcome.exit_code = report_error(status.error());
}

}  // namespace tandem
