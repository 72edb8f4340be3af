// A worker process for tests: `scripted_worker PORT MARK [LOAD_MS]` takes LOAD_MS to be ready and
// then plays a model (scripted_upstream_for_test.h). SIGUSR1 makes it hang with a green health
// check, SIGTERM ends it.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>

#include "fleet/scripted_upstream_for_test.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGUSR1}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (argc > 3) ::usleep(static_cast<useconds_t>(std::atoi(argv[3])) * 1000);
  tandem::ScriptedUpstream upstream(argv[2], {}, static_cast<std::uint16_t>(std::atoi(argv[1])));
  upstream.steps = 1;
  int number = 0;
  while (sigwait(&signals, &number) == 0 && number != SIGTERM) {
    upstream.set_mode(tandem::ScriptedUpstream::Mode::kHang);
  }
  return 0;
}
