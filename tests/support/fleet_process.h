#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "server/http/test_client_for_test.h"

namespace tandem {

std::string read_file(const std::string& path);

// Asks until it is so; false after `seconds`.
template <typename Condition>
bool comes_true(Condition condition, int seconds = 120) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

// `PROGRAM fleet FILE` as a process of its own, which listens on 127.0.0.1. The destructor kills
// it.
class FleetProcess {
 public:
  FleetProcess() = default;
  ~FleetProcess();
  FleetProcess(const FleetProcess&) = delete;
  FleetProcess& operator=(const FleetProcess&) = delete;

  // What it writes to standard error goes to `log`. Blocks until it has said its port; false where
  // it does not.
  bool start(const std::string& program, const std::string& file, const std::string& log);
  std::uint16_t port() const { return port_; }
  // SIGTERM. The exit code once it has ended; -1: by a signal.
  int stop();
  // POST /v1/completions with this body; blocks until the answer has ended.
  TestResponse complete(const std::string& body) const;

 private:
  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace tandem
