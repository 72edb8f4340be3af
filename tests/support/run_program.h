#pragma once

#include <string>

namespace tandem {

struct ProgramRun {
  int exit_code = -1;
  std::string out;  // standard output
  std::string err;  // standard error
};

struct ProgramTerms {
  std::string program = {};             // in the place of build/bin/tandem; empty: that
  std::string input = {};               // standard input
  bool interrupt_after_output = false;  // SIGINT, as from Ctrl-C, once it has written something
};

// Runs `build/bin/tandem ARGUMENTS` through the shell and waits for it.
ProgramRun run_tandem(const std::string& arguments, const ProgramTerms& terms = {});

}  // namespace tandem
