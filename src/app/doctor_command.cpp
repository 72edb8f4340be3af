#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "machine/doctor.h"

namespace tandem {
namespace {

bool wants_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0');
}

}  // namespace

void add_doctor_command(CLI::App& app, CommandOutcome& outcome) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command = app.add_subcommand(
      "doctor", "Is this machine built right for several GPUs? What to mend first");
  command
      ->add_option("--from", options->from, "Judge a folder of recordings instead of this computer")
      ->type_name("DIR");
  command
      ->add_option("--build", options->build,
                   "Judge a machine still to be bought, or add supply and case (TOML)")
      ->type_name("FILE");
  command
      ->add_option("--psu", options->psu_watts, "Judge the power budget against this power supply")
      ->type_name("WATTS");
  command->add_option("--svg", options->svg, "Draw the machine into this file")->type_name("FILE");
  command->add_option("--gpus", options->gpus, "Only these GPUs: 0,1")->delimiter(',');
  command->add_flag("--load", options->load,
                    "Copy on every link while its state is read; try every pair");
  command->add_flag("--redact", options->redact,
                    "Leave out serial numbers, UUIDs and names of hosts");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([options, &outcome] {
    options->colour = !options->json && wants_colour();
    options->cuda_toolkit = TANDEM_CUDA_TOOLKIT;
    finish_command(outcome, [&]() -> Status {
      TANDEM_TRY(outcome.exit_code, run_doctor(*options, std::cout));
      std::cout.flush();
      return {};
    });
  });
}

}  // namespace tandem
