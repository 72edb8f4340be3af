#include "support/run_program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace tandem {
namespace {

// In the child: standard streams in place, then the shell, which becomes the program.
[[noreturn]] void become(const std::string& command, const std::string& input,
                         const std::string& errors, int out) {
  dup2(open(input.c_str(), O_RDONLY), STDIN_FILENO);
  dup2(open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
  dup2(out, STDOUT_FILENO);
  execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
  _exit(127);
}

std::string read_all(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

ProgramRun run_tandem(const std::string& arguments, const ProgramTerms& terms) {
  const auto base =
      (std::filesystem::temp_directory_path() / "tandem_run_").string() + std::to_string(getpid());
  const std::string input = base + ".in";
  const std::string errors = base + ".err";
  std::ofstream(input, std::ios::binary) << terms.input;
  const std::string program = terms.program.empty() ? TANDEM_PROGRAM : terms.program;
  const std::string command = "exec " + program + " " + arguments;
  ProgramRun run;
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return run;
  const pid_t child = fork();
  if (child == 0) become(command, input, errors, ends[1]);
  close(ends[1]);
  bool interrupt = terms.interrupt_after_output;
  std::array<char, 4096> buffer{};
  for (ssize_t count; (count = read(ends[0], buffer.data(), buffer.size())) > 0;) {
    run.out.append(buffer.data(), static_cast<std::size_t>(count));
    if (interrupt) kill(child, SIGINT);
    interrupt = false;
  }
  close(ends[0]);
  int status = 0;
  if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)) {
    run.exit_code = WEXITSTATUS(status);
  }
  run.err = read_all(errors);
  std::filesystem::remove(input);
  std::filesystem::remove(errors);
  return run;
}

}  // namespace tandem
