#pragma once

#include <string>

namespace tandem {

struct ProgramRun {
  int exit_code = -1;
  std::string out;  // standard output
  std::string err;  // standard error
};

// Runs `build/bin/tandem ARGUMENTS` through the shell, standard input empty, and waits for it.
ProgramRun run_tandem(const std::string& arguments);

}  // namespace tandem
