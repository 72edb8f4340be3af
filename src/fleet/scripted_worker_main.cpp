// A worker process for tests: `scripted_worker PORT MARK [LOAD_MS]` takes LOAD_MS to be ready and
// then plays a model (scripted_upstream_for_test.h). SIGUSR1 makes it hang with a green health
// check, SIGUSR2 makes it die slowly: its connections and its port go at once, the process half a
// second later. SIGTERM ends it.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "fleet/scripted_upstream_for_test.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGUSR1, SIGUSR2}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (argc > 3) ::usleep(static_cast<useconds_t>(std::atoi(argv[3])) * 1000);
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  auto upstream = std::make_unique<tandem::ScriptedUpstream>(argv[2], std::string(), port);
  upstream->steps = 1;
  int number = 0;
  while (sigwait(&signals, &number) == 0 && number == SIGUSR1) {
    upstream->set_mode(tandem::ScriptedUpstream::Mode::kHang);
  }
  upstream.reset();
  if (number == SIGUSR2) ::usleep(500'000);
  return number == SIGUSR2 ? 1 : 0;
}
