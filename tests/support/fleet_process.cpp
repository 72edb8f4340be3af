#include "support/fleet_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>

namespace tandem {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

FleetProcess::~FleetProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool FleetProcess::start(const std::string& program, const std::string& file,
                         const std::string& log) {
  pid_ = fork();
  if (pid_ == 0) {
    dup2(open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
    execl(program.c_str(), "tandem", "fleet", file.c_str(), nullptr);
    _exit(127);
  }
  const std::string mark = "fleet on http://127.0.0.1:";
  return comes_true([&] {
    const std::string said = read_file(log);
    const std::size_t at = said.find(mark);
    if (at == std::string::npos || said.find('\n', at) == std::string::npos) return false;
    port_ = static_cast<std::uint16_t>(std::stoi(said.substr(at + mark.size())));
    return true;
  });
}

int FleetProcess::stop() {
  int status = 0;
  kill(pid_, SIGTERM);
  if (waitpid(pid_, &status, 0) == pid_) pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TestResponse FleetProcess::complete(const std::string& body) const {
  TestClient client(port_);
  client.send(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
      "Content-Type: application/json\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  return parse_response(client.read_all(120'000));
}

}  // namespace tandem
