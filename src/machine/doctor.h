#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/result.h"

namespace tandem {

struct DoctorOptions {
  std::optional<std::string> from;   // a folder of recordings, or one file; else this computer
  std::optional<std::string> build;  // TOML of a machine to be bought, or of its supply and case
  std::optional<double> psu_watts;   // the supply's rating, where --build does not say it
  std::optional<std::string> svg;    // where to write the drawing
  std::vector<int> gpus;             // judge only these; empty: all
  std::string cuda_toolkit;          // that the program's GPU code was built with; empty: none
  bool load = false;                 // put a short copy load on every link first
  bool json = false;
  bool redact = false;
  bool colour = false;
};

// `tandem doctor`: surveys, judges and prints to `out`. Returns the exit code: 3 where a finding is
// an error, else 0. Errors: what cannot be read, with exit code 2 by exit_code_of().
Result<int> run_doctor(const DoctorOptions& options, std::ostream& out);

}  // namespace tandem
