#include "support/run_program.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace tandem {

ProgramRun run_tandem(const std::string& arguments) {
  const auto errors = std::filesystem::temp_directory_path() /
                      ("tandem_stderr_" + std::to_string(getpid()) + ".txt");
  const std::string command =
      std::string(TANDEM_PROGRAM) + " " + arguments + " </dev/null 2>'" + errors.string() + "'";
  ProgramRun run;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return run;
  char buffer[4096];
  for (std::size_t count; (count = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    run.out.append(buffer, count);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) run.exit_code = WEXITSTATUS(status);
  std::ifstream in(errors, std::ios::binary);
  run.err.assign(std::istreambuf_iterator<char>(in), {});
  std::filesystem::remove(errors);
  return run;
}

}  // namespace tandem
